use crate::{
    house::{COURIER, House, write},
    kit::{MAIL, facts},
    swapping::{generation, harmless, plan, put},
};
use narrowgate::{config, policy::Sources};
use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Lays files out as Kubernetes does for a ConfigMap: `name -> ..data/name`, `..data -> ..version`.
fn version(folder: &Path, version: &str, files: &[(String, String)]) {
    let here = folder.join(format!("..{version}"));
    fs::create_dir(&here).unwrap();
    for (name, text) in files {
        write(&here.join(name), text);
    }
    symlink(format!("..{version}"), folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    for (name, _) in files {
        let link = folder.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(format!("..data/{name}"), &link).unwrap();
        }
    }
}

/// What is in a folder by now: name and text.
fn texts(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries.filter(|path| path.is_file()).map(|path| (named(&path), fs::read_to_string(&path).unwrap())).collect()
}

// rows: POL-04 TIME-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_a_config_map_with_the_sandbox_on() {
    let plan = plan("100ms")
        .config("agents = \"agents.toml\"", "agents = \"data/agents.toml\"")
        .config("apis = \"apis.toml\"", "apis = \"data/apis.toml\"")
        .config("[limits]", "[process]\nsandbox = \"on\"\n\n[limits]");
    let mut house = plan.build();
    let (policies, data) = (house.path("policies"), house.path("data"));
    let mut set = texts(&policies);
    fs::remove_dir_all(&policies).unwrap();
    let mut estate: Vec<(String, String)> = Vec::new();
    for name in ["agents.toml", "apis.toml"] {
        estate.push((name.to_owned(), fs::read_to_string(house.path(name)).unwrap()));
        fs::remove_file(house.path(name)).unwrap();
    }
    for (folder, files) in [(&policies, &set), (&data, &estate)] {
        fs::create_dir(folder).unwrap();
        version(folder, "v1", files);
    }
    house.start();
    house.wait_until_serving().await;
    let mut agent = house.svid_agent(COURIER).await;
    house.begin(&mut agent, &MAIL).await.unwrap();

    // Policies, by one swap of `..data`; the folder of before goes.
    set.push(("later.cedar".to_owned(), no("closed")));
    version(&policies, "v2", &set);
    fs::remove_dir_all(policies.join("..v1")).unwrap();
    let said = generation(&house, 2).await;
    assert_eq!((&facts(&said)["trigger"], &facts(&said)["previous_generation"]), (&"watch".into(), &1.into()));
    assert_ne!(facts(&said)["policy_digest"], facts(&said)["previous_policy_digest"]);
    assert_eq!(facts(&said)["entities_digest"], facts(&said)["previous_entities_digest"]);
    let status = house.begin(&mut agent, &MAIL).await.err().unwrap();
    assert_eq!(crate::house::fact(&status, "policy_code").as_deref(), Some("closed"));

    // Agents, likewise; the policies stay.
    estate[0].1 = estate[0].1.replace("trust = 3", "trust = 2");
    version(&data, "v2", &estate);
    fs::remove_dir_all(data.join("..v1")).unwrap();
    let said = generation(&house, 3).await;
    assert_eq!(facts(&said)["policy_digest"], facts(&said)["previous_policy_digest"]);
    assert_ne!(facts(&said)["entities_digest"], facts(&said)["previous_entities_digest"]);
    // And the whole folder, away and back with another set.
    set.pop();
    fs::rename(&policies, house.path("old")).unwrap();
    fs::create_dir(house.path("new")).unwrap();
    version(&house.path("new"), "v9", &set);
    fs::rename(house.path("new"), &policies).unwrap();
    generation(&house, 4).await;
    house.begin(&mut agent, &MAIL).await.unwrap();
}

fn no(code: &str) -> String {
    format!(
        "@id(\"{code}\") @code(\"{code}\")\nforbid (principal, action == Narrowgate::Action::\"begin_authorization\", resource);\n"
    )
}

/// Writes in place, slowly, as no one should.
async fn trickle(path: PathBuf, text: String) {
    let mut file = fs::File::create(path).unwrap();
    for piece in text.as_bytes().chunks(8) {
        file.write_all(piece).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

// rows: POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_being_written_is_not_taken() {
    let house = plan("100ms").open().await;
    let first = house.event("policy.activated").await;
    let count = facts(&first)["policy_count"].as_u64().unwrap();
    let path = house.path("policies/later.cedar");
    // No part of it is a policy: whoever stops for long in its middle leaves a mistake, and no smaller set.
    let more: String = (0..12).map(|n| format!(" && context.now < datetime(\"200{}-01-01\")", n % 10)).collect();
    let text = harmless("later").replace(" };", &(more + " };"));
    let writer = tokio::spawn(trickle(path, text));
    let said = generation(&house, 2).await;
    writer.await.unwrap();
    assert_eq!(facts(&said)["policy_count"], count + 1);
    assert_eq!(house.events("policy.activated").len(), 2);
}

fn settled(house: &House) -> Result<Sources, Vec<config::Finding>> {
    let config = config::load(&house.path("narrowgate.toml")).unwrap_or_else(|f| panic!("{}", f[0]));
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(Sources::settled(&Arc::new(config))))
}

// rows: POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_never_holds_still_is_not_taken() {
    let house = plan("1h").build();
    let before = settled(&house).unwrap_or_else(|f| panic!("{}", f[0])).digest();
    // It reads otherwise every hundredth of a second.
    symlink("/proc/uptime", house.path("policies/later.cedar")).unwrap();
    let refused = settled(&house).err();
    assert!(refused.unwrap()[0].message.contains("keeps changing while it is read"));
    put(&house, "policies/later.cedar", &harmless("whole"));
    assert_ne!(settled(&house).unwrap_or_else(|f| panic!("{}", f[0])).digest(), before);
}
