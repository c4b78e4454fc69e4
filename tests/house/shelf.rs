//! An https server with files on it, each with an entity tag (RFC 9110 §8.8.3), on a port of loopback.

use narrowgate::dev::ca::{Ca, San};
use rustls::{
    ServerConfig, ServerConnection, Stream,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// What is done to whoever asks.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    /// Files are served.
    #[default]
    Well,
    /// Connections are closed before a byte is said.
    Down,
    /// Everything is somewhere else.
    Moved,
    /// Bodies have no end.
    Endless,
}

#[derive(Default)]
struct State {
    files: HashMap<String, (Vec<u8>, u64)>,
    tags: u64,
    mood: Mood,
    answers: Vec<String>,
}

/// The server; it ends with the process.
pub(crate) struct Shelf {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Shelf {
    pub(crate) fn open(authority: &Ca) -> Self {
        let identity = authority.server(&[San::Ip(Ipv4Addr::LOCALHOST.into())]).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let tls = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let tls = Arc::new(tls.with_single_cert(chain, key).unwrap());
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for tcp in socket.incoming().map_while(Result::ok) {
                let (tls, state) = (Arc::clone(&tls), Arc::clone(&shared));
                // A client may go away at any time.
                std::thread::spawn(move || drop(serve(tcp, tls, &state)));
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}/{name}", self.port)
    }

    /// Puts files there, at once, each with a new entity tag.
    pub(crate) fn put<'f>(&self, files: impl IntoIterator<Item = (&'f str, &'f [u8])>) {
        let mut state = self.state.lock().unwrap();
        for (name, bytes) in files {
            state.tags += 1;
            let tag = state.tags;
            state.files.insert(format!("/{name}"), (bytes.to_vec(), tag));
        }
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// What was answered so far, such as `/policy.tar.gz.sig 304`.
    pub(crate) fn answers(&self) -> Vec<String> {
        self.state.lock().unwrap().answers.clone()
    }
}

fn serve(mut tcp: TcpStream, tls: Arc<ServerConfig>, state: &Mutex<State>) -> std::io::Result<()> {
    if state.lock().unwrap().mood == Mood::Down {
        return Ok(());
    }
    let mut connection = ServerConnection::new(tls).unwrap();
    let mut stream = BufReader::new(Stream::new(&mut connection, &mut tcp));
    let (mut path, mut tag) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? <= 2 {
            break;
        }
        if let Some(target) = line.strip_prefix("GET ") {
            path = target.split(' ').next().unwrap().to_owned();
        }
        if line.to_ascii_lowercase().starts_with("if-none-match:") {
            tag = line.split_once(':').unwrap().1.trim().to_owned();
        }
    }
    let (status, head, body) = {
        let mut state = state.lock().unwrap();
        let (status, head, body) = match (state.mood, state.files.get(&path)) {
            (Mood::Moved, _) => ("301", "location: https://elsewhere.example/\r\n".to_owned(), Vec::new()),
            (_, None) => ("404", String::new(), Vec::new()),
            (_, Some((_, now))) if tag == format!("\"{now}\"") => ("304", format!("etag: {tag}\r\n"), Vec::new()),
            (_, Some((bytes, now))) => ("200", format!("etag: \"{now}\"\r\n"), bytes.clone()),
        };
        state.answers.push(format!("{path} {status}"));
        (status, head, body)
    };
    let is_endless = state.lock().unwrap().mood == Mood::Endless;
    let length = if is_endless { usize::MAX >> 1 } else { body.len() };
    let stream = stream.get_mut();
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n{head}\r\n")?;
    if is_endless {
        // Until the other side has had enough.
        loop {
            stream.write_all(&[b'x'; 16 << 10])?;
        }
    }
    stream.write_all(&body)?;
    stream.conn.send_close_notify();
    stream.flush()
}
