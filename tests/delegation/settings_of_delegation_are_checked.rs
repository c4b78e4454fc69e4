use crate::{
    house::Plan,
    kit::{READ, obtain, obtain_request, open},
};

/// What the daemon says to these lines of `[client.token_exchange]`.
fn said(tables: &str) -> String {
    let mut plan = Plan::new();
    plan.config.push_str(tables);
    let house = plan.build();
    let output = house.command("check").output().unwrap();
    assert!(!output.status.success(), "{tables}");
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_cure() {
    for (tables, words) in [
        ("[client.token_exchange]\n", "`actor_key` is missing"),
        ("[client.token_exchange]\nactor_token = \"maybe\"\n", "must be \"signed\" or \"none\""),
        ("[client.token_exchange]\nactor_key = \"client.pem\"\n", "client.pem"),
        (
            "[client.token_exchange]\nactor_token = \"none\"\nsubject_issuers = [\"nobody\"]\n",
            "\"nobody\" is no configured",
        ),
        (
            "[client.token_exchange]\nactor_token = \"none\"\nagents = { \"x\" = \"nobody\" }\n",
            "\"nobody\" is no registered",
        ),
        (
            "[client.token_exchange]\nactor_token = \"none\"\naudiences = { \"x\" = \"nothing\" }\n",
            "\"nothing\" is no API",
        ),
        ("[client.token_exchange]\nactor_token = \"none\"\nmax_actors = 17\n", "from 1 to 16"),
        ("[client.jwt_bearer]\nsubject_issuers = []\n", "unknown key"),
        ("grant_types = [\"client_credentials\"]\n", "client_credentials"),
    ] {
        let said = said(tables);
        // The report is wrapped to the terminal's width.
        let flat: String =
            said.split(|c: char| c.is_whitespace() || "│╰├─".contains(c)).filter(|w| !w.is_empty()).collect();
        let wanted: String = words.split_whitespace().collect();
        assert!(flat.contains(&wanted), "{words}: {said}");
    }
}

#[tokio::test]
async fn a_client_without_redirect_uris_has_other_grants() {
    let plan = Plan::new().config("redirect_uris = [\"http://127.0.0.1/callback\"]\n", "");
    let house = open(plan, "").await;
    obtain(&mut house.agent().await, obtain_request(None, &[READ])).await.unwrap();
    let plan = Plan::new().config("redirect_uris = [\"http://127.0.0.1/callback\"]\n", "");
    let house = plan.build();
    assert!(!house.command("check").output().unwrap().status.success());
}
