//! A solver that dies, answers garbage or says nothing shows nothing: it is never taken for "the same".

use super::comparing::Files;

const SCHEMA: &str =
    "entity User; entity Doc { level: Long };\naction view appliesTo { principal: [User], resource: [Doc] };";

fn files() -> Files {
    Files::new(&[
        ("schema.cedarschema", SCHEMA),
        ("old.cedar", "@id(\"a\") permit (principal, action, resource) when { resource.level < 3 };"),
        ("new.cedar", "@id(\"a\") permit (principal, action, resource) when { resource.level < 4 };"),
    ])
}

#[test]
fn what_is_no_answer_is_told_as_what_it_is() {
    let files = files();
    let answering = |text: &str| {
        format!("#!/bin/sh\nwhile read -r line; do [ \"$line\" = '(check-sat)' ] && printf '%b' '{text}'; done\n")
    };
    let broken = [
        ("dies", "#!/bin/sh\necho no licence >&2\nexit 3\n".to_owned(), "no licence"),
        ("garbage", answering("perhaps\\n"), "neither sat nor unsat"),
        ("error", answering("(error \"out of memory\")\\n"), "out of memory"),
        ("no-model", answering("sat\\n(\\n(nonsense)\\n)\\n"), "counterexample that is none"),
        // It lies: no such request is decided otherwise.
        ("flood", "#!/bin/sh\ncat /dev/zero\n".to_owned(), "too long, or no text"),
        ("mute", "#!/bin/sh\nexec true\n".to_owned(), "without an answer"),
    ];
    for (name, program, said) in broken {
        let program = files.program(name, &program);
        for wanted in ["auto", "required"] {
            let compared = files.diff("old.cedar", "new.cedar", &["--solver", wanted, "--solver-command", &program]);
            assert_eq!(compared.exit, 69, "{name}: {}{}", compared.out, compared.err);
            assert!(compared.err.contains(said), "{name}: {}", compared.err);
            assert!(!compared.out.contains("never") && compared.err.len() < 2_000, "{name}: {}", compared.out);
        }
    }
    let absent = files.path("nowhere").display().to_string();
    let compared = files.diff("old.cedar", "new.cedar", &["--solver-command", &absent]);
    assert!(compared.exit == 69 && compared.err.contains("cannot be run"), "{}", compared.err);
}

#[test]
fn no_solver_and_no_answer_in_time_leave_it_untold() {
    let files = files();
    let (exit, said) = files.json("old.cedar", "new.cedar", &[]);
    assert_eq!((exit, &said["direction"], &said["solver"]["state"]), (3, &"untold".into(), &"absent".into()));
    let compared = files.diff("old.cedar", "new.cedar", &["--solver", "required"]);
    assert!(compared.exit == 69 && compared.err.contains("install cvc5"), "{}", compared.err);
    let slow = files.program("slow", "#!/bin/sh\nexec sleep 60\n");
    let arguments = ["--solver-command", &slow, "--solver-timeout", "100ms"];
    let (exit, said) = files.json("old.cedar", "new.cedar", &arguments);
    assert_eq!((exit, &said["direction"]), (3, &"untold".into()), "{said}");
    assert_eq!(said["solver"]["untold"][0]["why"], "the solver did not answer in time", "{said}");
    let gave_up = files
        .program("gave-up", "#!/bin/sh\nwhile read -r line; do [ \"$line\" = '(check-sat)' ] && echo unknown; done\n");
    let (exit, said) = files.json("old.cedar", "new.cedar", &["--solver-command", &gave_up]);
    assert_eq!((exit, &said["solver"]["untold"][0]["why"]), (3, &"the solver gave up".into()), "{said}");
    // It must answer where it is required to.
    let compared = files.diff("old.cedar", "new.cedar", &["--solver", "required", "--solver-command", &gave_up]);
    assert_eq!(compared.exit, 69, "{}{}", compared.out, compared.err);
    // Where the policies are the same it is not even started.
    let (exit, said) = files.json("old.cedar", "old.cedar", &["--solver-command", &slow]);
    assert_eq!((exit, &said["direction"], &said["solver"]["state"]), (0, &"same".into(), &"needless".into()));
}
