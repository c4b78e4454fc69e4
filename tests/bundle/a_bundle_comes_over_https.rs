use crate::{
    house::{House, eventually},
    kit::{self, facts},
    packing::{Key, PINNED, begins, build, packed, said},
    shelf::{Mood, Shelf},
    swapping::{generation, harmless, put},
};
use rustix::process::Signal;

const NAME: &str = "policy.tar.gz";
const SIGNATURE: &str = "policy.tar.gz.sig";

/// A house whose bundle is on a shelf.
fn of_url(every: &str) -> (House, Shelf) {
    let mut shelf = None;
    let origin = |house: &House| {
        let opened = Shelf::open(&house.server_ca);
        let text = format!("url = \"{}\"\nca = \"server-ca.pem\"", opened.url(NAME));
        shelf = Some(opened);
        text
    };
    let house = build(kit::plan(), origin, &format!("check_every = \"{every}\""));
    (house, shelf.unwrap())
}

fn ship(house: &House, shelf: &Shelf, serial: u64) -> Vec<u8> {
    let archive = packed(house, serial);
    shelf.put([(NAME, archive.as_slice()), (SIGNATURE, PINNED.sign(&archive, serial).as_bytes())]);
    archive
}

/// Waits for a rejection with these words.
async fn rejected(house: &House, words: &str) {
    let has = |event: &serde_json::Value| facts(event)["first_mistake"].as_str().unwrap().contains(words);
    eventually(words, || house.events("policy.rejected").into_iter().find(has)).await;
}

fn count(shelf: &Shelf, answer: &str) -> usize {
    shelf.answers().iter().filter(|it| *it == answer).count()
}

// rows: POL-04 (bad signature: the old generation stays)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_is_asked_for_again_only_when_it_changed() {
    let (mut house, shelf) = of_url("100ms");
    ship(&house, &shelf, 1);
    house.start();
    house.wait_until_serving().await;
    begins(&house).await;
    let unchanged = format!("/{SIGNATURE} 304");
    eventually("it is asked for again", || (count(&shelf, &unchanged) >= 5).then_some(())).await;
    assert_eq!(count(&shelf, &format!("/{NAME} 200")), 1, "{:?}", shelf.answers());

    put(&house, "policies/extra.cedar", &harmless("extra"));
    let good = ship(&house, &shelf, 2);
    let event = generation(&house, 2).await;
    assert_eq!((&facts(&event)["bundle_serial"], &facts(&event)["trigger"]), (&2.into(), &"watch".into()));
    let fetched = count(&shelf, &format!("/{NAME} 200"));
    assert_eq!(fetched, 2);

    // A signature that no pinned key made: the archive is not even asked for.
    let forged = Key(8).sign(&good, 3);
    shelf.put([(SIGNATURE, forged.as_bytes())]);
    rejected(&house, "which is not trusted").await;
    assert_eq!(count(&shelf, &format!("/{NAME} 200")), fetched);
    begins(&house).await;
    // One that is of another archive.
    let other = PINNED.sign(b"another archive", 3);
    shelf.put([(SIGNATURE, other.as_bytes())]);
    rejected(&house, "is not the archive that was signed").await;
    // An older one, which a daemon that has fetched it does not take.
    let older = packed(&house, 1);
    shelf.put([(NAME, older.as_slice()), (SIGNATURE, PINNED.sign(&older, 1).as_bytes())]);
    rejected(&house, "is of an older bundle").await;
    assert_eq!(house.events("policy.activated").len(), 2);
    begins(&house).await;
    put(&house, "policies/extra.cedar", &harmless("other"));
    ship(&house, &shelf, 4);
    generation(&house, 3).await;
}

// rows: POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_last_outlives_a_server_that_is_down() {
    let (mut house, shelf) = of_url("100ms");
    shelf.mood(Mood::Down);
    house.start();
    eventually("there is no set", || house.log().contains("no valid policy set").then_some(())).await;
    rejected(&house, "was not fetched yet, and none of before is kept").await;
    rejected(&house, "cannot be fetched: its server cannot be reached").await;
    ship(&house, &shelf, 1);
    shelf.mood(Mood::Well);
    house.wait_until_serving().await;
    begins(&house).await;
    house.stop().await;

    shelf.mood(Mood::Down);
    let before = house.events("policy.activated").len();
    house.start();
    house.wait_until_serving().await;
    begins(&house).await;
    let events = house.events("policy.activated");
    assert_eq!((events.len(), &facts(&events[before])["bundle_serial"]), (before + 1, &1.into()));
    // The same when an operator asks, and it is told why; and once it is up, what is new is taken.
    let told = said(&kit::command(&house, &["reload"]));
    assert!(told.1.contains("cannot be fetched: its server cannot be reached"), "{told:?}");
    put(&house, "policies/extra.cedar", &harmless("extra"));
    ship(&house, &shelf, 2);
    shelf.mood(Mood::Well);
    generation(&house, 2).await;
}

// rows: POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_something_else_changes_nothing() {
    let (mut house, shelf) = of_url("1h");
    ship(&house, &shelf, 1);
    house.start();
    house.wait_until_serving().await;
    for (mood, words) in [
        (Mood::Moved, "the answer is 301 Moved Permanently, and no redirect is followed"),
        (Mood::Down, "cannot be fetched"),
        (Mood::Endless, "has more than 4096 bytes"),
    ] {
        // With another tag, or it would say that nothing has changed.
        ship(&house, &shelf, 1);
        shelf.mood(mood);
        house.tell(Signal::HUP);
        rejected(&house, words).await;
        begins(&house).await;
    }
    shelf.mood(Mood::Well);
    put(&house, "policies/extra.cedar", &harmless("extra"));
    ship(&house, &shelf, 2);
    house.tell(Signal::HUP);
    generation(&house, 2).await;
    assert_eq!(house.events("policy.activated").len(), 2);
}

// rows: POL-04 (a server of another authority)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_server_that_its_own_roots_vouch_for() {
    let (house, shelf) = of_url("1h");
    ship(&house, &shelf, 1);
    let check = || said(&house.command("check").output().unwrap());
    let (code, text) = check();
    assert!(code == Some(0) && text.contains("bundle of serial 1, signed by key"), "{text}");
    let path = house.path("narrowgate.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    crate::house::write(
        &path,
        &config.replace("\nca = \"server-ca.pem\"\npublic", "\nca = \"clients-ca.pem\"\npublic"),
    );
    let (code, text) = check();
    assert!(code == Some(65) && text.contains("not one that `ca` vouches for"), "{text}");
}
