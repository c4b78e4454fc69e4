use super::{OpenError, Opened, VaultKey, file::beside, open};
use crate::platform::{Clock, Entropy, SystemClock, SystemEntropy};
use std::{fs, path::Path, sync::Arc, time::Duration};

const LONG: Duration = Duration::from_secs(20);

fn try_open(path: &Path, key: u8) -> Result<Opened<Vec<u8>>, OpenError> {
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
    open(path, &VaultKey::parse(&[key; 32]).unwrap(), clock, &entropy, |plain| Ok(plain.to_vec()))
}

fn plain(path: &Path) -> Opened<Vec<u8>> {
    let opened = try_open(path, 1).unwrap();
    assert!(opened.rejected.is_none(), "{:?}", opened.rejected);
    opened
}

/// What is in a file, which is closed again.
async fn texts(path: &Path) -> Vec<Vec<u8>> {
    let opened = plain(path);
    assert!(opened.vault.close(LONG).await);
    let mut texts: Vec<Vec<u8>> = opened.records.iter().map(|(_, text)| text.clone()).collect();
    texts.sort();
    texts
}

#[test]
fn keys_are_32_bytes_or_64_digits() {
    assert!(VaultKey::parse(&[7; 32]).is_some());
    assert!(
        VaultKey::parse(&[b'a'; 64]).is_some()
            && VaultKey::parse(format!("{}\n", "0F".repeat(32)).as_bytes()).is_some()
    );
    for bad in [
        &[7; 31][..],
        &[7; 33],
        &[b'g'; 64],
        &[b'a'; 65],
        b"",
        b"+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1",
    ] {
        assert!(VaultKey::parse(bad).is_none());
    }
    assert_eq!(format!("{:?}", VaultKey::parse(&[7; 32]).unwrap()), "VaultKey");
}

// rows: RT-01 RT-02
#[tokio::test]
async fn records_are_found_again_and_cannot_be_read_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/grants.redb");
    {
        let opened = plain(&path);
        let vault = &opened.vault;
        let [a, b, c] = [b"a", b"b", b"c"].map(|name| vault.id("test", name));
        drop(vault.put(a, b"the old secret of a").unwrap());
        drop(vault.put(b, b"the secret of b").unwrap());
        drop(vault.put(c, b"the secret of c").unwrap());
        drop(vault.remove(b));
        assert!(vault.put(a, b"the new secret of a").unwrap().done(LONG).await);
        assert!(matches!(try_open(&path, 1), Err(OpenError::InUse(_))));
        assert!(vault.close(LONG).await);
    }
    let bytes = fs::read(&path).unwrap();
    for open in [&b"secret"[..], b"the ", b"of a"] {
        assert!(!bytes.windows(open.len()).any(|window| window == open));
    }
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap()) & 0o777, 0o600);
    assert_eq!(texts(&path).await, [b"the new secret of a".to_vec(), b"the secret of c".to_vec()]);
    // Another key is no damage: the file stays where it is.
    assert!(matches!(try_open(&path, 2), Err(OpenError::WrongKey(_))));
    assert_eq!(texts(&path).await.len(), 2);
}

/// A file with this many records, closed.
async fn written(path: &Path, records: u16) -> Vec<u8> {
    let opened = plain(path);
    for number in 0..records {
        let id = opened.vault.id("test", &number.to_be_bytes());
        drop(opened.vault.put(id, &number.to_be_bytes().repeat(200)).unwrap());
    }
    assert!(opened.vault.close(LONG).await);
    drop(opened);
    fs::read(path).unwrap()
}

// rows: RT-02 (bad input: a corrupted or foreign grant store is never half used)
#[tokio::test]
async fn a_damaged_file_is_used_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grants.redb");
    let sound = written(&path, 40).await;
    let (mut aside, mut whole) = (0, 0);
    // Every part of the file: its header, its trees, its records, its empty room.
    for at in (0..sound.len()).step_by(sound.len() / 97) {
        let mut bytes = sound.clone();
        for byte in bytes.iter_mut().skip(at).take(3) {
            *byte ^= 0x55;
        }
        fs::write(&path, &bytes).unwrap();
        let Ok(opened) = try_open(&path, 1) else { panic!("damage at {at} is fatal") };
        match &opened.rejected {
            None => {
                assert_eq!(opened.records.len(), 40, "half used, damaged at {at}");
                whole += 1;
            }
            Some(rejected) => {
                assert!(opened.records.is_empty());
                assert_eq!(fs::read(&rejected.moved_to).unwrap().len(), bytes.len());
                fs::remove_file(&rejected.moved_to).unwrap();
                aside += 1;
            }
        }
        assert!(opened.vault.close(LONG).await);
    }
    assert!(aside > 10 && whole > 0, "{aside} moved aside, {whole} harmless");
}

// rows: RT-02
#[tokio::test]
async fn what_is_no_vault_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grants.redb");
    let sound = written(&path, 3).await;
    let foreign = folder.path().join("foreign.redb");
    drop(redb::Database::create(&foreign).unwrap());
    let bad = [
        b"not a database".repeat(4000),
        Vec::new(),
        sound[..sound.len() / 2].to_vec(),
        sound[..100].to_vec(),
        fs::read(&foreign).unwrap(),
    ];
    for bytes in bad {
        fs::write(&path, &bytes).unwrap();
        let opened = try_open(&path, 1).unwrap();
        let rejected = opened.rejected.as_ref().expect("it was used");
        assert!(rejected.moved_to.to_str().unwrap().contains("grants.redb.corrupt-"));
        assert!(opened.records.is_empty() && fs::metadata(&path).unwrap().len() > 0);
        assert!(opened.vault.close(LONG).await);
    }
}

// rows: RT-02
#[tokio::test]
async fn records_do_not_change_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grants.redb");
    written(&path, 2).await;
    {
        use redb::ReadableTable;
        let database = redb::Database::open(&path).unwrap();
        let writing = database.begin_write().unwrap();
        {
            let mut table = writing.open_table(redb::TableDefinition::<&[u8], &[u8]>::new("records")).unwrap();
            let both: Vec<(Vec<u8>, Vec<u8>)> = table
                .iter()
                .unwrap()
                .map(|e| e.unwrap())
                .map(|(k, v)| (k.value().to_vec(), v.value().to_vec()))
                .collect();
            table.insert(both[0].0.as_slice(), both[1].1.as_slice()).unwrap();
            table.insert(both[1].0.as_slice(), both[0].1.as_slice()).unwrap();
        }
        writing.commit().unwrap();
    }
    // Each is sealed as it was: only its place is another's.
    assert_eq!(try_open(&path, 1).unwrap().rejected.unwrap().why, "a record in it is damaged");
}

// rows: RT-02
#[tokio::test]
async fn a_file_that_was_removed_comes_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grants.redb");
    let opened = plain(&path);
    let vault = &opened.vault;
    assert!(vault.put(vault.id("test", b"a"), b"a").unwrap().done(LONG).await);
    fs::remove_file(&path).unwrap();
    assert!(vault.put(vault.id("test", b"b"), b"b").unwrap().done(LONG).await);
    assert!(!beside(&path, ".new").exists());
    assert!(vault.close(LONG).await);
    drop(opened);
    assert_eq!(texts(&path).await, [b"a", b"b"]);
}
