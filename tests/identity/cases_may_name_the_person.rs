use crate::{house::House, kit::roomy};

const RULES: &str = r#"
@id("guard.write-needs-mfa")
@code("mfa_required")
forbid (principal, action == Narrowgate::Action::"release_token", resource)
unless { context has subject && context.subject.mfa };
@id("guard.managers")
@code("managers_only")
forbid (principal, action == Narrowgate::Action::"release_token", resource)
unless { context has subject && context.subject.user in Narrowgate::UserGroup::"managers" };
@id("guard.ana")
@code("not_ana")
forbid (principal, action == Narrowgate::Action::"release_token", resource)
when {
  context has subject && context.subject.user == Narrowgate::User::"corp|ana" && context.subject has acr &&
  context.subject.acr == "bronze" && context.subject has authTime &&
  context.subject.authTime < context.base.now.offset(duration("-30s"))
};
"#;

fn case(name: &str, more: &str) -> String {
    format!(
        "[[case]]\nname = \"{name}\"\naction = \"release_token\"\nagent = \"quoter\"\nclient = \"sales-crm\"\n\
         scopes = [\"customers.read\", \"openid\"]\n{more}\n"
    )
}

fn house(cases: &[String]) -> House {
    let mut plan = roomy("groups = [\"managers\"]").policy(RULES);
    plan.policies.push(("people.cases.toml".to_owned(), cases.concat()));
    plan.build()
}

fn check(house: &House) -> (Option<i32>, String) {
    let output = house.command("check").output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
}

// rows: IDT-11
#[test]
fn what_a_case_says_of_the_person_is_what_policy_sees() {
    let (exit, told) = check(&house(&[
        case("nobody", "expect = \"deny\"\nreasons = [\"guard.managers\", \"guard.write-needs-mfa\"]"),
        case(
            "a manager",
            "subject = { sub = \"bob\", mfa = true, groups = [\"managers\"] }\nexpect = \"allow\"\nreasons = [\"flow.release\"]",
        ),
        case(
            "no manager",
            "subject = { sub = \"bob\", mfa = true }\nexpect = \"deny\"\nreasons = [\"guard.managers\"]",
        ),
        case(
            "ana, a minute ago",
            "subject = { sub = \"ana\", mfa = true, groups = [\"managers\"], acr = \"bronze\", \
             auth_time = \"2026-11-22T09:59:00Z\" }\nexpect = \"deny\"\nreasons = [\"guard.ana\"]\ncode = \"not_ana\"",
        ),
    ]));
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains(" 4 cases passed"), "{told}");
}

// rows: IDT-11
#[test]
fn a_case_cannot_put_anyone_into_a_group_that_is_not_declared() {
    for (subject, says) in [
        ("{ sub = \"bob\", groups = [\"admins\"] }", "does not declare \"admins\""),
        ("{ mfa = true }", "`sub` is missing"),
        ("{ sub = \"bob\", mfaa = true }", "did you mean `mfa`?"),
        ("{ sub = \"bob\", auth_time = \"yesterday\" }", "is no RFC 3339 instant"),
    ] {
        let (exit, told) = check(&house(&[case("odd", &format!("subject = {subject}\nexpect = \"deny\""))]));
        assert_eq!(exit, Some(65), "{told}");
        assert!(told.contains(says), "{says:?} not in {told}");
    }
}
