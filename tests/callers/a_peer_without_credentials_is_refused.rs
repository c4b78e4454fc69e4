use crate::{
    asking::{Kept, READ, refused},
    house::Plan,
};
use std::process::{Command, Stdio};
use tonic::Code;

/// Runs a program under a seccomp filter that fails `getsockopt(.., SOL_SOCKET, SO_PEERCRED, ..)` with EPERM: the one
/// way to a Unix socket whose kernel names no peer.
const NO_PEERCRED: &str = r#"
import ctypes, os, platform, struct, sys
getsockopt = {"x86_64": 55, "aarch64": 209}[platform.machine()]
SO_PEERCRED, SOL_SOCKET = 17, 1
load = lambda offset: struct.pack("HBBI", 0x20, 0, 0, offset)
unless = lambda value, skip: struct.pack("HBBI", 0x15, 0, skip, value)
answer = lambda value: struct.pack("HBBI", 0x06, 0, 0, value)
rules = (load(0) + unless(getsockopt, 5) + load(24) + unless(SOL_SOCKET, 3) + load(32) + unless(SO_PEERCRED, 1)
         + answer(0x00050001) + answer(0x7FFF0000))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
text = ctypes.create_string_buffer(rules)
program = Program(len(rules) // 8, ctypes.cast(text, ctypes.c_void_p))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, ctypes.byref(program)) != 0:
    sys.exit("no seccomp filter here")
os.execv(sys.argv[1], sys.argv[1:])
"#;

// rows: CALL-02
#[tokio::test]
async fn a_peer_the_kernel_does_not_name_is_refused_before_policy() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: python3 sets the seccomp filter, and it is not here");
        return;
    }
    let mut house = Plan::new().build();
    let mut command = Command::new("python3");
    command.args(["-c", NO_PEERCRED, env!("CARGO_BIN_EXE_narrowgate"), "serve", "--config"]);
    command.arg(house.path("narrowgate.toml")).stdin(Stdio::null()).stderr(Stdio::null());
    let _daemon = Kept(command.spawn().unwrap());
    house.wait_until_serving().await;
    let mut agent = house.agent().await;
    refused(house.begin(&mut agent, &[READ]).await, Code::Unauthenticated, "PEER_CRED_MISSING");
    let get = crate::house::get(&mut agent, "grant_x").await;
    refused(get, Code::Unauthenticated, "PEER_CRED_MISSING");
    let event = house.event("agent.rejected").await;
    assert_eq!(event["status_code"], "PEER_CRED_MISSING");
    assert_eq!(event["unmapped"]["narrowgate"]["peer"], "unix peer without credentials");
    assert!(house.events("authorization.decided").is_empty(), "policy was asked");
    assert_eq!(house.server.front_connections(), 0);
}
