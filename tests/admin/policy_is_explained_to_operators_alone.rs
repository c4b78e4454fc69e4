use crate::{
    house::{COURIER, House, begin_request, fact, unix_channel},
    kit::{command, facts, freeze, granted, grants, plain, plan, refused},
};
use narrowgate::api::proto::{
    ExplainRequest, Explanation, Inquiry, WhatIfRequest, explain_request::What, near_miss::Kind,
    policy_service_client::PolicyServiceClient,
};
use serde_json::Value;
use std::collections::HashMap;
use tonic::{Code, Status, transport::Channel};

type Service = PolicyServiceClient<Channel>;

async fn service(house: &House) -> Service {
    PolicyServiceClient::new(unix_channel(&house.path("run/admin.sock")).await)
}

fn inquiry(agent: &str, scopes: &[&str]) -> Inquiry {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    Inquiry { agent: agent.to_owned(), client: "sales-crm".to_owned(), scopes, ..Inquiry::default() }
}

async fn explain(service: &mut Service, what: What) -> Result<Explanation, Status> {
    let reply = service.explain(ExplainRequest { what: Some(what) }).await?.into_inner();
    assert!(!reply.decision_id.is_empty());
    Ok(reply.explanation.unwrap())
}

async fn what_if(service: &mut Service, inquiry: Inquiry, facts: &[(&str, &str)]) -> Result<Explanation, Status> {
    let facts: HashMap<_, _> = facts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let reply = service.what_if(WhatIfRequest { inquiry: Some(inquiry), facts }).await?.into_inner();
    Ok(reply.explanation.unwrap())
}

fn operations(explanation: &Explanation) -> Vec<&str> {
    explanation.decisions.iter().map(|decision| decision.operation.as_str()).collect()
}

// rows: POL-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_exchange_and_a_real_no() {
    let house = plan().open().await;
    granted(&house).await;
    let mut service = service(&house).await;
    let event = house.events("exchange.decided").remove(0);
    let decision = event["metadata"]["correlation_uid"].as_str().unwrap().to_owned();
    let told = explain(&mut service, What::Decision(decision.clone())).await.unwrap();
    assert!(told.allowed && told.decisions.iter().all(|it| it.differs.is_empty() && it.decision_id == decision));
    assert_eq!(operations(&told), ["redeem_code", "release_token"]);
    let gate = &told.decisions[0].questions[0];
    assert_eq!((gate.part.as_str(), gate.policies[0].id.as_str()), ("gate", "flow.own-client"));
    assert!(gate.policies[0].text.contains("principal in resource.owner"));
    assert_eq!((told.decisions[0].terms[0].value.as_str(), &told.policy_generation), ("2m", &1));
    assert_eq!(facts(&house.events("admin.decided")[0])["target"], format!("decision {decision}"));
    // One event of it alone.
    let uid = event["metadata"]["uid"].as_str().unwrap().to_owned();
    assert_eq!(operations(&explain(&mut service, What::Decision(uid)).await.unwrap()), ["redeem_code"]);

    // The agent is told a code and an advice; the operator, why.
    let mut courier = house.svid_agent(COURIER).await;
    let no = courier.begin_authorization(begin_request(&["customers.delete", "customers.write"])).await.err().unwrap();
    let said = format!("{no:?}");
    assert!(!said.contains("guard.stepup") && !said.contains("grant.sales"), "{said}");
    let told = explain(&mut service, What::Decision(fact(&no, "decision_id").unwrap())).await.unwrap();
    let (delete, write) = (&told.decisions[0].questions[1], &told.decisions[0].questions[2]);
    assert_eq!((told.allowed, delete.code.as_str()), (false, "approval_required"));
    assert_eq!(delete.policies[0].annotations["advice"], "approval");
    assert_eq!(delete.policies[0].missing[0].text, "context.base has approval");
    let near = &write.near_misses[0];
    assert!(near.policy == "grant.sales.crm-write" && near.kind() == Kind::Principal, "{}", near.policy);
    assert!(near.clause.as_ref().unwrap().facts[0].value.contains("Team::\"sales\""));
}

// rows: POL-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_given_before_has_its_questions_where_they_are() {
    let house = plan().open().await;
    let (mut agent, grant) = granted(&house).await;
    for number in 1..=4 {
        crate::house::get(&mut agent, &grant).await.unwrap();
        crate::house::eventually("its event", || (house.events("token.served").len() == number).then_some(())).await;
    }
    let cached = house.events("token.served").pop().unwrap();
    assert!(facts(&cached)["asked"].is_null() && facts(&cached)["answered_by"].is_string(), "{cached:#}");
    let mut service = service(&house).await;
    for id in [&cached["metadata"]["uid"], &facts(&cached)["release_decision_id"]] {
        let told = explain(&mut service, What::Decision(id.as_str().unwrap().to_owned())).await.unwrap();
        assert_eq!(operations(&told), ["release_token"]);
        assert!(told.allowed && told.decisions[0].differs.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_and_nothing_comes_of_it() {
    let house = plan().open().await;
    let (_, grant) = granted(&house).await;
    let mut service = service(&house).await;
    let before = house.audit().len();
    assert!(explain(&mut service, What::Inquiry(inquiry("courier", &["mail.read"]))).await.unwrap().allowed);
    assert!(what_if(&mut service, inquiry("courier", &["mail.read"]), &[]).await.unwrap().allowed);
    let told = what_if(&mut service, inquiry("courier", &["mail.read"]), &[("trust", "1")]).await.unwrap();
    assert_eq!((told.allowed, told.decisions[0].deny_kind.as_str()), (false, "forbid_matched"));
    assert_eq!(told.decisions[0].questions[0].policies[0].id, "guard.trust");
    let approval = "{ approver = \"ana\", approver_team = \"sales\", at = \"2026-11-22T09:59:00Z\", scopes = [\"customers.delete\"] }";
    let ask = || inquiry("quoter", &["customers.delete"]);
    assert!(!what_if(&mut service, ask(), &[]).await.unwrap().allowed);
    assert!(what_if(&mut service, ask(), &[("approval", approval)]).await.unwrap().allowed);
    // The log has the calls alone, each under its own name; the grant is as it was.
    let new = house.audit().split_off(before);
    let calls: Vec<(&str, &str)> = new
        .iter()
        .map(|event| (event["metadata"]["event_code"].as_str().unwrap(), event["api"]["operation"].as_str().unwrap()))
        .collect();
    let (why, if_so) = ("narrowgate.v1.PolicyService/Explain", "narrowgate.v1.PolicyService/WhatIf");
    assert_eq!(calls, [why, if_so, if_so, if_so, if_so].map(|operation| ("admin.decided", operation)));
    assert_eq!(facts(&new[0])["target"], "courier by sales-crm");
    house.assert_valid_ocsf(&["admin.decided"], &[]);
    let mut admin = crate::kit::admin(&house).await;
    assert_eq!(grants(&mut admin).await.len(), 1);
    let mut courier = house.svid_agent(COURIER).await;
    crate::house::get(&mut courier, &grant).await.unwrap();

    freeze(&mut admin, "agent").await.unwrap();
    let told = explain(&mut service, What::Inquiry(inquiry("courier", &["mail.read"]))).await.unwrap();
    assert!(told.notes[0].contains("is frozen"), "{:?}", told.notes);
}

// rows: CALL-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_no_agents_door_and_for_no_agent() {
    let house = plain().open().await;
    let each = async |channel: Channel| {
        let mut service = PolicyServiceClient::new(channel);
        [
            explain(&mut service, What::Inquiry(inquiry("quoter", &["mail.read"]))).await.map(|_| ()),
            what_if(&mut service, inquiry("quoter", &["mail.read"]), &[]).await.map(|_| ()),
        ]
    };
    for answer in each(unix_channel(&house.path("run/agent.sock")).await).await {
        refused(answer, Code::Unimplemented, "METHOD_UNKNOWN");
    }
    for answer in each(unix_channel(&house.path("run/admin.sock")).await).await {
        refused(answer, Code::PermissionDenied, "OPERATOR_UNKNOWN");
    }
    assert!(house.events("admin.decided").is_empty());
}

// rows: CALL-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_an_action_of_its_own() {
    let mut plan = plan();
    for (_, text) in &mut plan.policies {
        *text = text.replace(", Narrowgate::Action::\"admin_what_if\"]", "]");
    }
    let house = plan.open().await;
    let mut service = service(&house).await;
    explain(&mut service, What::Inquiry(inquiry("quoter", &["mail.read"]))).await.unwrap();
    let no = what_if(&mut service, inquiry("quoter", &["mail.read"]), &[]).await;
    refused(no, Code::PermissionDenied, "POLICY_DENIED");
    let denied = house.events("admin.decided").pop().unwrap();
    assert_eq!((&denied["status_code"], &facts(&denied)["operation"]), (&"POLICY_DENIED".into(), &"WhatIf".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_asked_is_told_and_one_is_answered_at_a_time() {
    let house = plan().open().await;
    let mut service = service(&house).await;
    let wrong = [
        What::Decision(String::new()),
        What::Decision("admin.decided".to_owned()),
        What::Decision("00000000-0000-7000-8000-000000000000".to_owned()),
        What::Inquiry(Inquiry::default()),
        What::Inquiry(inquiry("quoter", &[])),
        What::Inquiry(inquiry("quoter", &["mail.shred"])),
        What::Inquiry(inquiry("quoter", &["mail.read"; 65])),
        What::Inquiry(Inquiry { flow: "theft".to_owned(), ..inquiry("quoter", &["mail.read"]) }),
    ];
    for what in wrong {
        refused(explain(&mut service, what).await, Code::InvalidArgument, "FIELD_INVALID");
    }
    for fact in [("turst", "1"), ("agent", "courier"), ("trust", "1\nquarantined = true"), ("now", "noon")] {
        let answer = what_if(&mut service, inquiry("quoter", &["mail.read"]), &[fact]).await;
        refused(answer, Code::InvalidArgument, "FIELD_INVALID");
    }
    let nothing = service.explain(ExplainRequest { what: None }).await;
    refused(nothing, Code::InvalidArgument, "FIELD_REQUIRED");

    let calls = (0..12).map(|_| {
        let mut service = service.clone();
        tokio::spawn(async move { explain(&mut service, What::Inquiry(inquiry("quoter", &["mail.read"]))).await })
    });
    let mut busy = 0;
    for call in calls.collect::<Vec<_>>() {
        if let Err(status) = call.await.unwrap() {
            assert_eq!(fact(&status, "quota").as_deref(), Some("explanations"), "{status:?}");
            assert_eq!(status.code(), Code::ResourceExhausted);
            busy += 1;
        }
    }
    // Each call waits for its record: some come while another one does.
    assert!((1..12).contains(&busy), "{busy}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_by_the_command_line() {
    let house = plan().open().await;
    granted(&house).await;
    let event = house.events("exchange.decided").remove(0);
    let decision = event["metadata"]["correlation_uid"].as_str().unwrap();
    let run = |arguments: &[&str]| {
        let output = command(&house, arguments);
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code(), text)
    };
    let (code, said) = run(&["explain", "--event", decision]);
    assert!(
        code == Some(0) && said.contains("ALLOW redeem_code") && said.contains("by permit flow.own-client"),
        "{said}"
    );
    let courier = ["--agent", "courier", "--client", "sales-crm", "--scope", "mail.read"];
    let what_if = |fact: &'static str| run(&[&["what-if"][..], &courier, &["--fact", fact]].concat());
    let (code, said) = what_if("trust=1");
    assert!(code == Some(1) && said.contains("by forbid guard.trust"), "{said}");
    assert_eq!(what_if("trust=2").0, Some(0));
    let (code, said) = run(&[&["--output", "json", "explain"][..], &courier].concat());
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &told["allowed"]), (Some(0), &true.into()));
    assert_eq!(run(&["explain"]).0, Some(64));
    assert_eq!(run(&[&["explain", "--fact", "trust=1"][..], &courier].concat()).0, Some(64));
    // The very log, offline.
    let mut offline = crate::house::binary();
    offline.args(["policy", "explain", "--event", decision, "--config"]).arg(house.path("narrowgate.toml"));
    let output = offline.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("policies/flows.cedar:"), "{said}");
}
