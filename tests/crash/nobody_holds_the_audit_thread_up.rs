//! Whoever looks at the log's state while it is being written holds nothing up for good.

use crate::{house::eventually, plan};
use narrowgate::{
    app::Daemon,
    audit::{Code, Event},
    config,
};
use std::{sync::mpsc, time::Duration};

// rows: AUD-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_whether_it_can_be_written_takes_no_lock() {
    let house = plan().build();
    let file = house.path("narrowgate.toml");
    let daemon = Daemon::start(config::load(&file).unwrap(), &file).await.unwrap();
    house.event("daemon.started").await;
    let recorder = daemon.corridor().recorder.clone();
    let writable = recorder.writable();
    let (told, answer) = mpsc::channel();
    tokio::task::block_in_place(|| {
        // Looked at here, while a commit ends, which wants to change it, and asked for a second time.
        let looking = writable.borrow();
        recorder.report(Event::new(Code::PolicyActivated, "policy"));
        // Time for the audit thread to get to where it says how the commit went. It holds with less, but proves less.
        std::thread::sleep(Duration::from_millis(300));
        let recorder = recorder.clone();
        std::thread::spawn(move || told.send(recorder.is_writable()));
        let answer = answer.recv_timeout(Duration::from_secs(10));
        assert!(*looking);
        drop(looking);
        assert_eq!(answer, Ok(true), "two who look and one who writes wait for each other");
    });
    eventually("SERVING", || daemon.readiness.borrow().is_none().then_some(())).await;
    daemon.stop().await;
}
