use crate::house::{Agent, House, Plan, begin_request, fact, reason};
use narrowgate::api::proto::Claimed;
use tonic::{Request, Status};

/// A forbid on what the kernel says, and one permit that looks at what the caller says.
const POLICIES: &str = r#"
@id("attested.uid") @code("wrong_uid")
forbid (principal, action == Narrowgate::Action::"begin_authorization", resource)
unless { context.base.caller has uid && context.base.caller.uid == @UID@ };

@id("attested.transport") @code("wrong_transport")
forbid (principal, action == Narrowgate::Action::"begin_authorization", resource)
unless {
  context.base.caller.transport == "uds" && context.base.caller.attestation.method == "unix-peer" &&
  context.base.caller.attestation.verified && !(context.base has approval) &&
  context.base.actors.depth == 0
};

@id("claimed.seen") @code("claimed_seen")
forbid (principal, action == Narrowgate::Action::"begin_authorization", resource)
when {
  context.base.claimed has tags && context.base.claimed.tags.contains("approved=true") &&
  context.base.claimed has task && context.base.claimed.task == "peer_uid=0"
};
"#;

fn boasting(tag: &str) -> Claimed {
    Claimed {
        purpose: "{\"approved\":true,\"peer_uid\":0}".to_owned(),
        task: "peer_uid=0".to_owned(),
        session: "attestation.verified".to_owned(),
        tags: vec![tag.to_owned(), "trust=4".to_owned()],
    }
}

async fn begin(agent: &mut Agent, scope: &str, claimed: Claimed) -> Result<(), Status> {
    let mut request = Request::new(begin_request(&[scope]));
    request.get_mut().claimed = Some(claimed);
    // Metadata is the caller's own words too.
    for (name, value) in [
        ("x-peer-uid", "0"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-spiffe-id", "spiffe://acme.test/agent/admin"),
        ("authorization", "Bearer i-am-admin"),
        ("x-forwarded-client-cert", "URI=spiffe://acme.test/agent/admin"),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    agent.begin_authorization(request).await.map(|_| ())
}

async fn open(uid: u32) -> House {
    Plan::new().policy(&POLICIES.replace("@UID@", &uid.to_string())).open().await
}

// rows: POL-06
#[tokio::test]
async fn attested_facts_do_not_move() {
    let uid = rustix::process::geteuid().as_raw();
    let house = open(uid).await;
    let mut agent = house.agent().await;
    // Boasting changes nothing where policies look at attested keys.
    begin(&mut agent, "customers.read", boasting("approved")).await.unwrap();
    // It is visible as claimed, and only there.
    let status = begin(&mut agent, "customers.read", boasting("approved=true")).await.err().unwrap();
    assert_eq!(fact(&status, "policy_code").unwrap(), "claimed_seen");
    // It does not stand for an approval, nor for trust.
    let status = begin(&mut agent, "customers.delete", boasting("approved")).await.err().unwrap();
    assert_eq!(fact(&status, "policy_code").unwrap(), "approval_required");
    // What policy was asked, as it was asked: the words stand under `claimed`, and nothing of them anywhere else.
    let decided = house.events("authorization.decided");
    assert_eq!(decided.len(), 3);
    for event in &decided {
        let mut asked = event["unmapped"]["narrowgate"]["asked"].clone();
        for base in asked["bases"].as_array_mut().unwrap() {
            assert_eq!(base["claimed"]["task"], "peer_uid=0");
            assert_eq!(
                (&base["caller"]["uid"], &base["caller"]["attestation"]["verified"]),
                (&uid.into(), &true.into())
            );
            base.as_object_mut().unwrap().remove("claimed");
        }
        let rest = asked.to_string();
        for word in ["approved", "peer_uid", "trust=4", "i-am-admin", "agent/admin", "10.0.0.1"] {
            assert!(!rest.contains(word), "{word}: {rest}");
        }
    }
    let uid_text = uid.to_string();
    for event in house.audit() {
        let actor = &event["actor"];
        assert!(actor["user"].is_null() || actor["user"]["uid"] == "quoter", "{event}");
        assert!(actor["process"].is_null() || actor["process"]["user"]["uid"] == uid_text.as_str(), "{event}");
    }
}

// rows: POL-06
#[tokio::test]
async fn a_claimed_uid_is_no_uid() {
    let house = open(4_000_000).await;
    let mut agent = house.agent().await;
    let mut claimed = boasting("approved");
    claimed.task = "4000000".to_owned();
    claimed.tags = vec!["uid=4000000".to_owned(), "{\"uid\":4000000}".to_owned()];
    let status = begin(&mut agent, "customers.read", claimed).await.err().unwrap();
    assert_eq!(reason(&status), "POLICY_DENIED");
    assert_eq!(fact(&status, "policy_code").unwrap(), "wrong_uid");
}

// rows: POL-06
#[tokio::test]
async fn claimed_words_are_bounded() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let word = |purpose: String| Claimed { purpose, ..Claimed::default() };
    let tags = |tags: Vec<String>| Claimed { tags, ..Claimed::default() };
    let bad = [
        word("p".repeat(129)),
        word("a\nb".to_owned()),
        word("a\0".to_owned()),
        word("\u{1b}[2J".to_owned()),
        tags(vec!["t".repeat(65)]),
        tags(vec!["t".to_owned(); 17]),
        Claimed { task: "\u{85}".to_owned(), ..Claimed::default() },
        Claimed { session: "s".repeat(129), ..Claimed::default() },
    ];
    for claimed in bad {
        let status = begin(&mut agent, "customers.read", claimed).await.err().unwrap();
        assert_eq!(reason(&status), "FIELD_INVALID");
    }
    let full = Claimed { tags: vec!["t".repeat(64); 16], ..word("p".repeat(128)) };
    begin(&mut agent, "customers.read", full).await.unwrap();
}
