use crate::{
    house::{COURIER, House, begin_request, eventually, reason},
    kit::{MAIL, admin, command, facts},
    swapping::{edit, generation, harmless, plan, put, sound},
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
};
use tonic::Code;

/// What is done to the files, how it is undone, and words of the first mistake.
struct Harm {
    name: &'static str,
    words: &'static str,
    harm: fn(&House),
    undo: fn(&House),
}

fn mode(house: &House, name: &str, mode: u32) {
    fs::set_permissions(house.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

fn remove(house: &House, name: &str) {
    fs::remove_file(house.path(name)).unwrap();
}

const EXTRA: &str = "policies/extra.cedar";

fn of_policies() -> Vec<Harm> {
    let undo: fn(&House) = |h| remove(h, EXTRA);
    vec![
        Harm {
            name: "an attribute with a typo",
            words: "trsut",
            harm: |h| put(h, EXTRA, &harmless("x").replace("context.now <", "principal.trsut >= 1 && context.now <")),
            undo,
        },
        Harm {
            name: "an entity type that is unknown",
            words: "Narrowgate::Actoin",
            harm: |h| put(h, EXTRA, &harmless("x").replace("Narrowgate::Action", "Narrowgate::Actoin")),
            undo,
        },
        Harm {
            name: "an annotation that is unknown",
            words: "unknown annotation @max_tl",
            harm: |h| put(h, EXTRA, &format!("@max_tl(\"60\") {}", harmless("x"))),
            undo,
        },
        Harm { name: "an empty file", words: "holds no policy", harm: |h| put(h, EXTRA, ""), undo },
        Harm { name: "half a file", words: "unexpected", harm: |h| put(h, EXTRA, &harmless("x")[..40]), undo },
        Harm {
            name: "a policy past its last day",
            words: "was its last day",
            harm: |h| put(h, EXTRA, &format!("@expires(\"2020-01-01\") {}", harmless("x"))),
            undo,
        },
        Harm {
            name: "a case that fails",
            words: "expected deny, got allow",
            harm: |h| {
                let cases = include_str!("../../policies/base/operators.cases.toml");
                let first = cases.split("[[case]]").nth(1).unwrap().split("# ----").next().unwrap();
                put(h, "policies/extra.cases.toml", &format!("[[case]]{}", first.replace("\"allow\"", "\"deny\"")));
            },
            undo: |h| remove(h, "policies/extra.cases.toml"),
        },
    ]
}

fn of_data() -> Vec<Harm> {
    vec![
        Harm {
            name: "a key with a typo",
            words: "unknown key `agent.quarantine`",
            harm: |h| edit(h, "agents.toml", "trust = 3", "quarantine = true\ntrust = 3"),
            undo: |h| edit(h, "agents.toml", "quarantine = true\n", ""),
        },
        Harm {
            name: "an API of an issuer that is not configured",
            words: "names no configured issuer",
            harm: |h| edit(h, "apis.toml", "issuer = \"corp\"", "issuer = \"crop\""),
            undo: |h| edit(h, "apis.toml", "issuer = \"crop\"", "issuer = \"corp\""),
        },
        Harm {
            name: "nobody to serve on the operators' socket",
            words: "has nobody to serve",
            harm: |h| {
                fs::copy(h.path("agents.toml"), h.path("before")).unwrap();
                let text = fs::read_to_string(h.path("before")).unwrap();
                put(h, "agents.toml", text.split("[[operator]]").next().unwrap());
            },
            undo: |h| fs::rename(h.path("before"), h.path("agents.toml")).unwrap(),
        },
        Harm {
            name: "a program that the sandbox hides",
            words: "hides the programs of others",
            harm: |h| edit(h, "agents.toml", "uid = 1001\n", "uid = 1001\nexecutable = \"/bin/true\"\n"),
            undo: |h| edit(h, "agents.toml", "executable = \"/bin/true\"\n", ""),
        },
        Harm {
            name: "a data file that anyone may change",
            words: "anyone may change it",
            harm: |h| mode(h, "apis.toml", 0o666),
            undo: |h| mode(h, "apis.toml", 0o600),
        },
    ]
}

fn of_the_folder() -> Vec<Harm> {
    let undo: fn(&House) = |h| remove(h, EXTRA);
    vec![
        Harm {
            name: "a file that anyone may change",
            words: "grants.cedar: has mode 0666: anyone may change it",
            harm: |h| mode(h, "policies/grants.cedar", 0o666),
            undo: |h| mode(h, "policies/grants.cedar", 0o600),
        },
        Harm {
            name: "a folder that anyone may change",
            words: "policies: has mode 0777",
            harm: |h| mode(h, "policies", 0o777),
            undo: |h| mode(h, "policies", 0o700),
        },
        Harm {
            // Who owns a folder removes from it what forbids.
            name: "a folder of somebody else",
            words: "belongs to uid 4242",
            harm: |h| {
                fs::create_dir(h.path("policies/theirs")).unwrap();
                put(h, "policies/theirs/extra.cedar", &harmless("x"));
                if let Err(e) = chown(h.path("policies/theirs"), Some(4242), None) {
                    eprintln!("SKIPPED: root is needed to give a folder away: {e}");
                    put(h, EXTRA, "// belongs to uid 4242");
                }
            },
            undo: |h| {
                fs::remove_dir_all(h.path("policies/theirs")).unwrap();
                drop(fs::remove_file(h.path(EXTRA)));
            },
        },
        Harm {
            name: "a folder in itself",
            words: "has more than 16 folders",
            harm: |h| symlink(".", h.path("policies/again")).unwrap(),
            undo: |h| remove(h, "policies/again"),
        },
        Harm {
            name: "a folder that is gone",
            words: "cannot be read",
            harm: |h| fs::rename(h.path("policies"), h.path("away")).unwrap(),
            undo: |h| fs::rename(h.path("away"), h.path("policies")).unwrap(),
        },
        Harm {
            name: "something that is no file",
            words: "extra.cedar: cannot be read",
            harm: |h| drop(std::os::unix::net::UnixListener::bind(h.path(EXTRA)).unwrap()),
            undo,
        },
        Harm {
            name: "a file of somebody else",
            words: "belongs to uid 4242",
            harm: |h| {
                put(h, EXTRA, &harmless("x"));
                if let Err(e) = chown(h.path(EXTRA), Some(4242), None) {
                    eprintln!("SKIPPED: root is needed to give a file away: {e}");
                    put(h, EXTRA, "// belongs to uid 4242");
                }
            },
            undo,
        },
    ]
}

fn of_links() -> Vec<Harm> {
    vec![
        Harm {
            name: "a link swapped into a folder that anyone may change",
            words: "is a link into",
            harm: |h| {
                fs::create_dir(h.path("open")).unwrap();
                mode(h, "open", 0o777);
                put(h, "open/extra.cedar", &harmless("x"));
                symlink(h.path("open/extra.cedar"), h.path(EXTRA)).unwrap();
            },
            undo: |h| {
                remove(h, EXTRA);
                fs::remove_dir_all(h.path("open")).unwrap();
            },
        },
        Harm {
            // Whatever it forbade would be allowed.
            name: "a link to a folder that is gone",
            words: "cannot be read",
            harm: |h| symlink(h.path("nowhere"), h.path("policies/forbids")).unwrap(),
            undo: |h| remove(h, "policies/forbids"),
        },
        Harm {
            name: "a link that leads to itself",
            words: "cannot be read",
            harm: |h| symlink("loop", h.path("policies/loop")).unwrap(),
            undo: |h| remove(h, "policies/loop"),
        },
        Harm {
            name: "a link to a folder that anyone may put another in the place of",
            words: "is a link into",
            harm: |h| {
                fs::create_dir_all(h.path("open/rules")).unwrap();
                mode(h, "open", 0o777);
                put(h, "open/rules/extra.cedar", &harmless("x"));
                symlink(h.path("open/rules"), h.path("policies/rules")).unwrap();
            },
            undo: |h| {
                remove(h, "policies/rules");
                fs::remove_dir_all(h.path("open")).unwrap();
            },
        },
    ]
}

fn too_large() -> Vec<Harm> {
    let undo: fn(&House) = |h| remove(h, EXTRA);
    vec![
        Harm {
            name: "a file of 100 MB",
            words: "is 104857600 bytes long",
            harm: |h| fs::File::create(h.path(EXTRA)).unwrap().set_len(100 << 20).unwrap(),
            undo,
        },
        Harm {
            name: "more than there may be together",
            words: "bytes long, and",
            harm: |h| {
                for name in ["a", "b", "c"] {
                    let file = fs::File::create(h.path(&format!("policies/big-{name}.cedar"))).unwrap();
                    file.set_len(12 << 20).unwrap();
                }
            },
            undo: |h| ["a", "b", "c"].iter().for_each(|name| remove(h, &format!("policies/big-{name}.cedar"))),
        },
        Harm {
            name: "a million policies",
            words: "holds more than 50000 policies",
            harm: |h| put(h, EXTRA, &"permit(principal,action,resource);".repeat(400_000)),
            undo,
        },
        Harm {
            name: "more files than there may be",
            words: "has more than 16 folders in each other, or more than 40000 files",
            harm: |h| {
                fs::create_dir(h.path("policies/many")).unwrap();
                for number in 0..=40_000 {
                    fs::File::create(h.path(&format!("policies/many/{number}"))).unwrap();
                }
            },
            undo: |h| fs::remove_dir_all(h.path("policies/many")).unwrap(),
        },
    ]
}

// rows: POL-02 POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_in_policies() {
    each(of_policies()).await;
}

// rows: POL-02 POL-04 TIME-06
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_in_data_files() {
    each(of_data()).await;
}

// rows: POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_may_not_be_trusted() {
    each(of_the_folder()).await;
    each(of_links()).await;
}

// rows: POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_too_large_or_too_many() {
    each(too_large()).await;
}

/// A policy with this condition.
fn when(house: &House, condition: &str) {
    let head = "@id(\"x\") permit (principal, action == Narrowgate::Action::\"break_glass\", resource) when { ";
    put(house, EXTRA, &format!("{head}{condition} }};"));
}

fn too_deep() -> Vec<Harm> {
    let undo: fn(&House) = |h| remove(h, EXTRA);
    const MANY: usize = 100_000;
    let nested = |name, harm| Harm { name, words: "", harm, undo };
    vec![
        nested("parentheses", |h| when(h, &format!("{}true{}", "(".repeat(MANY), ")".repeat(MANY)))),
        nested("sets", |h| when(h, &format!("{}1{} == 1", "[".repeat(MANY), "]".repeat(MANY)))),
        nested("records", |h| when(h, &format!("{}1{} == 1", "{a:".repeat(MANY), "}".repeat(MANY)))),
        nested("conditions", |h| when(h, &format!("{}true", "if true then false else ".repeat(MANY)))),
        nested("a conjunction", |h| when(h, &format!("{}1", "true && ".repeat(MANY)))),
        nested("a sum", |h| when(h, &format!("{}true", "1 + ".repeat(MANY)))),
        nested("members", |h| when(h, &format!("context{}", ".a".repeat(MANY)))),
        // As deep as may be, and wrong for another reason: no overflow there either.
        nested("what is just not too deep", |h| when(h, &format!("{}1{}", "(".repeat(36), ")".repeat(36)))),
        nested("sets just not too deep", |h| when(h, &format!("{}1{} == 1", "[".repeat(36), "]".repeat(36)))),
        nested("conditions just not too deep", |h| when(h, &format!("{}1", "if true then false else ".repeat(35)))),
        nested("a sum just not too deep", |h| when(h, &format!("{}true", "1 + ".repeat(35)))),
        nested("halves", |h| when(h, &"(".repeat(MANY))),
        Harm {
            name: "arrays of a data file",
            words: "",
            harm: |h| {
                let text = fs::read_to_string(h.path("agents.toml")).unwrap();
                fs::copy(h.path("agents.toml"), h.path("before")).unwrap();
                put(h, "agents.toml", &format!("x = {}{}\n{text}", "[".repeat(MANY), "]".repeat(MANY)));
            },
            undo: |h| fs::rename(h.path("before"), h.path("agents.toml")).unwrap(),
        },
    ]
}

// rows: POL-04 POL-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_nested_too_deep() {
    each(too_deep()).await;
}

async fn each(harms: Vec<Harm>) {
    let house = plan("100ms").open().await;
    let mut admin = admin(&house).await;
    let mut agent = house.svid_agent(COURIER).await;
    for (before, harm) in harms.into_iter().enumerate() {
        let name = harm.name;
        (harm.harm)(&house);
        let said =
            eventually(&format!("a refusal of {name}"), || house.events("policy.rejected").into_iter().nth(before))
                .await;
        let first = facts(&said)["first_mistake"].as_str().unwrap().to_owned();
        // The one that cannot give files away has its own words there.
        let is_told = first.contains(harm.words) || (harm.words.contains("uid") && first.contains("holds no policy"));
        assert!(is_told, "{name}: {first}");
        assert_eq!((&said["severity"], &facts(&said)["trigger"]), (&"High".into(), &"watch".into()), "{name}");
        assert_eq!((&facts(&said)["generation"], &said["status_id"]), (&1.into(), &1.into()), "{name}");
        assert!(facts(&said)["mistakes"].as_u64().unwrap() >= 1 && first.len() <= 512, "{name}");
        // The last good one goes on.
        house.begin(&mut agent, &MAIL).await.unwrap_or_else(|s| panic!("{name}: {s:?}"));
        assert!(house.health().starts_with("SERVING\npolicy: the last reload was refused"), "{name}");
        let now = crate::swapping::status(&mut admin).await;
        let failure = now.policy_failure.unwrap();
        assert!(now.policy_generation == 1 && failure.stands && failure.mistake_count >= 1, "{name}");
        (harm.undo)(&house);
        let now = sound(&mut admin).await;
        assert_eq!(now.policy_generation, 1, "{name}: what is as it was is no other set");
        assert_eq!(house.health(), "SERVING", "{name}");
        assert_eq!(house.events("policy.rejected").len(), before + 1, "{name} is told once");
    }
    assert_eq!(house.events("policy.activated").len(), 1);
    // And a good one is taken.
    put(&house, EXTRA, &harmless("good"));
    generation(&house, 2).await;
    let said = String::from_utf8(command(&house, &["status"]).stdout).unwrap();
    assert!(said.contains("policy: generation 2") && said.contains("last refused reload:"), "{said}");
}

// rows: POL-03 POL-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unless_it_is_to_close_then() {
    let plan = plan("100ms").config("check_every", "on_bad_reload = \"fail_closed\"\ncheck_every");
    let house = plan.open().await;
    let mut agent = house.svid_agent(COURIER).await;
    put(&house, EXTRA, "permit");
    let said = house.event("policy.rejected").await;
    assert_eq!((&said["severity"], &said["status_id"]), (&"Critical".into(), &2.into()));
    let status = agent.begin_authorization(begin_request(&MAIL)).await.err().unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "POLICY_NOT_LOADED"));
    eventually("health says so", || (house.health() == "NOT_SERVING").then_some(())).await;
    // The very set of before is another generation: it was away.
    remove(&house, EXTRA);
    generation(&house, 2).await;
    house.begin(&mut agent, &MAIL).await.unwrap();
    eventually("health says so", || (house.health() == "SERVING").then_some(())).await;
}
