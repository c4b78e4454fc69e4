use crate::{
    asking::{run, words},
    house::{House, Plan},
};
use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    process::Stdio,
};

/// Starts the daemon, which must refuse with this exit code, name the path, and leave nothing bound.
async fn refuses(house: &House, exit: i32, path: &str, why: &str) {
    let output = run(house.command("serve")).await;
    let words = words(&output);
    assert_eq!(output.status.code(), Some(exit), "{words}");
    assert!(words.contains(path) && words.contains(why), "{path:?} and {why:?} are not in {words:?}");
    assert!(!words.contains("narrowgate is up"), "{words}");
}

fn folder(house: &House, mode: u32) -> String {
    let folder = house.path("run");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
    folder.display().to_string()
}

// rows: CALL-04
#[tokio::test]
async fn a_folder_that_others_can_write_is_refused() {
    for mode in [0o777, 0o1777, 0o770, 0o702] {
        let house = Plan::new().build();
        let folder = folder(&house, mode);
        refuses(&house, 69, &folder, "could replace the socket").await;
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "something was bound in a folder with mode {mode:o}");
    }
}

// rows: CALL-04
#[tokio::test]
async fn a_folder_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a folder away");
        return;
    }
    let house = Plan::new().build();
    let folder = folder(&house, 0o750);
    std::os::unix::fs::chown(&folder, Some(4242), None).unwrap();
    refuses(&house, 69, &folder, "belongs to uid 4242").await;
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

// rows: CALL-04
#[tokio::test]
async fn planted_symbolic_links_are_not_followed() {
    let house = Plan::new().build();
    let folder = folder(&house, 0o750);
    let (socket, elsewhere) = (house.path("run/agent.sock"), house.path("elsewhere.sock"));
    symlink(&elsewhere, &socket).unwrap();
    refuses(&house, 69, &socket.display().to_string(), "is a symbolic link").await;
    assert!(!elsewhere.exists() && socket.is_symlink());
    // Nor one that leads to a live socket.
    let _live = UnixListener::bind(&elsewhere).unwrap();
    refuses(&house, 69, &socket.display().to_string(), "is a symbolic link").await;
    // Nor one in place of the folder.
    fs::remove_file(&socket).unwrap();
    fs::rename(&folder, house.path("real")).unwrap();
    symlink(house.path("real"), &folder).unwrap();
    refuses(&house, 69, &folder, "is a symbolic link").await;
    let left: Vec<_> = fs::read_dir(house.path("real")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["agent.sock.lock"]);
}

// rows: CALL-04
#[tokio::test]
async fn the_abstract_namespace_and_loose_modes_are_mistakes_of_configuration() {
    let path = r#"path = "@FOLDER@/run/agent.sock""#;
    for (name, why) in
        [("@narrowgate", "abstract namespace"), ("\\u0000narrowgate", "abstract namespace"), ("agent.sock", "absolute")]
    {
        let house = Plan::new().config(path, &format!("path = \"{name}\"")).build();
        refuses(&house, 64, "listen.unix.path", why).await;
    }
    for mode in ["0666", "0777", "0640", "666"] {
        let house = Plan::new().config(r#"mode = "0600""#, &format!("mode = \"{mode}\"")).build();
        refuses(&house, 64, "listen.unix.mode", "0600").await;
        assert!(!house.path("run").exists());
    }
}

// rows: CALL-04
#[tokio::test]
async fn what_is_not_a_stale_socket_is_left_alone() {
    let house = Plan::new().build();
    folder(&house, 0o750);
    let socket = house.path("run/agent.sock");
    fs::write(&socket, "someone's file").unwrap();
    refuses(&house, 69, &socket.display().to_string(), "is not a socket").await;
    assert_eq!(fs::read_to_string(&socket).unwrap(), "someone's file");
    fs::remove_file(&socket).unwrap();
    let live = UnixListener::bind(&socket).unwrap();
    refuses(&house, 69, &socket.display().to_string(), "is in use").await;
    assert!(socket.exists());
    // Stale, it is taken over.
    drop(live);
    let mut house = house;
    house.start();
    house.wait_until_serving().await;
}

// rows: CALL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_daemons_that_start_at_once_exactly_one_takes_the_path() {
    let house = Plan::new().build();
    folder(&house, 0o750);
    // Each would take the stale socket over.
    drop(UnixListener::bind(house.path("run/agent.sock")).unwrap());
    let text = fs::read_to_string(house.path("narrowgate.toml")).unwrap();
    let start = |number: usize| {
        let config = house.path(&format!("narrowgate-{number}.toml"));
        let own = text.replace("directory = \"audit\"", &format!("directory = \"audit-{number}\""));
        crate::house::write(&config, &own);
        let mut command = crate::house::binary();
        command.arg("serve").arg("--config").arg(config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut daemons: Vec<_> = (0..6).map(start).map(crate::asking::Kept).collect();
    crate::house::eventually("all but one to give up", || {
        let ended = daemons.iter_mut().filter_map(|daemon| daemon.0.try_wait().unwrap()).collect::<Vec<_>>();
        assert!(ended.iter().all(|status| status.code() == Some(69)), "{ended:?}");
        (ended.len() == 5).then_some(())
    })
    .await;
    let mut agent = house.agent().await;
    house.begin(&mut agent, &[crate::asking::READ]).await.unwrap();
}

// rows: CALL-04
#[tokio::test]
async fn the_socket_is_born_with_the_configured_mode_and_group() {
    let house = Plan::new().open().await;
    let meta = fs::symlink_metadata(house.path("run/agent.sock")).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(house.path("run")).unwrap().mode() & 0o022, 0);
    let gid = rustix::process::getegid().as_raw();
    let shared = format!("mode = \"0660\"\ngid = {gid}");
    let house = Plan::new().config(r#"mode = "0600""#, &shared).open().await;
    let meta = fs::symlink_metadata(house.path("run/agent.sock")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.gid()), (0o660, gid));
}
