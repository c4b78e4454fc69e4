//! The index and the cache against Cedar asked in full: random sets, random questions, a clock that moves.

use super::{
    Snapshot,
    asked::{Part, Step},
    context::{boolean, context, count, duration, entity, now, record, text},
    engine::{Answered, Round},
    engine_dice::Dice,
    engine_worlds::{entities, round, set},
    load::of_texts,
    question::Question,
    value::{Uid, Value},
};
use crate::model::{DecisionId, Wall};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use uuid::Uuid;

fn cases() -> u64 {
    std::env::var("NARROWGATE_DIFFERENTIAL").ok().and_then(|n| n.parse().ok()).unwrap_or(4_000)
}

// rows: CACH-01 CACH-05 POL-01 (NARROWGATE_DIFFERENTIAL says how many questions are asked)
#[test]
fn the_index_and_the_cache_say_what_cedar_says_of_every_policy() {
    const SETS: u64 = 20;
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut hits, mut asked, mut erring, mut allowed, mut opaque) = (0_u64, 0_u64, 0_u64, 0_u64, 0);
    for number in 0..SETS {
        let snapshot = set(&mut dice, 6 + number);
        opaque += snapshot.uncacheable().count();
        // Shortly before an hour, since policies speak of hours; often before the day on which some of them end.
        let hours = if dice.below(2) == 0 { 0 } else { i64::try_from(dice.below(96)).unwrap() - 48 };
        let mut at = Wall(1_795_478_400_000 + 3_600_000 * hours - 30_000);
        while asked < (number + 1) * cases() / SETS {
            at = Wall(match dice.below(200) {
                0 => at.0 - 7_200_000,
                1 => at.0 + 43_200_000,
                _ => at.0 + i64::try_from(dice.below(3_000)).unwrap(),
            });
            // An agent asks the same again and again; only the time is another.
            let seed = if dice.below(5) == 0 {
                dice.below(u64::MAX) | 1
            } else {
                1 + (dice.below(6) + 6 * number) * 0x0101_0101_0101
            };
            let (steps, own) = round(&mut Dice(seed), at);
            let id = DecisionId(Uuid::from_u128(u128::from(asked)));
            let answered = snapshot.answers(&Round { steps: &steps, own: &own, keeping: None, id, recorded: true });
            answered.asked.iter().for_each(|questions| questions.is_recorded());
            hits += u64::from(answered.by.is_some());
            for (step, answer) in steps.iter().zip(answered.answers.iter()) {
                let question = step.question.as_ref().unwrap();
                let own: Vec<_> = own.iter().map(|own| super::entities::own(own).unwrap()).collect();
                let full = snapshot.ask_all(question, &snapshot.entities_with(own).unwrap());
                assert_eq!(*answer, full, "set {number}, question {asked}, hit {:?}: {question:?}", answered.by);
                asked += 1;
                erring += u64::from(full.errors > 0);
                allowed += u64::from(full.allowed);
                assert!(answered.by.is_none() || full.errors == 0, "an error was kept");
            }
        }
    }
    eprintln!(
        "{asked} questions: {hits} rounds answered from the cache, {allowed} allowed, {erring} errors, {opaque} opaque policies; 0 differ"
    );
    // The story has everything in it.
    assert!(hits > 0 && erring > 0 && opaque > 0 && allowed > asked / 10 && allowed < asked * 9 / 10);
}

/// The key of a round of one question about a scope.
fn key_of(
    snapshot: &Snapshot,
    change: impl FnOnce(&mut BTreeMap<&'static str, Value<'static>>, &mut Question<'static>),
) -> Option<Vec<u8>> {
    let mut question = Question {
        principal: Uid::new("Agent", "a"),
        action: Uid::new("Action", "grant_scope"),
        resource: Uid::new("Scope", "crm.read"),
        context: context([]),
    };
    let at = Wall(1_795_340_000_000);
    let caller = record([
        ("transport", text("uds")),
        ("attestation", record([("method", text("unix-peer")), ("verified", boolean(true))])),
    ]);
    let mut base = BTreeMap::from([
        ("now", now(at)),
        ("caller", caller),
        ("scopes", Value::set([entity("Scope", "crm.read")])),
        ("audiences", Value::set([entity("Api", "crm")])),
        ("proof", record([("method", text("none"))])),
        ("lifetime", duration(Duration::from_secs(300))),
        ("claimed", record([("tags", Value::set([text("a b"), text("c")]))])),
        ("actors", record([("depth", count(0)), ("members", Value::set([]))])),
    ]);
    change(&mut base, &mut question);
    question.context = context([("base", record(base)), ("client", entity("Client", "crm")), ("flow", text("hold"))]);
    let steps = [Step { part: Part::Gate, question: Some(question) }];
    snapshot.key(&Round { steps: &steps, own: &[], keeping: None, id: DecisionId(Uuid::nil()), recorded: true }, at)
}

// rows: CACH-01
#[test]
fn a_key_changes_with_each_fact_that_counts_and_with_no_other() {
    let every = "@id(\"p\") permit (principal, action == Narrowgate::Action::\"grant_scope\", resource) when { \
        context.base.scopes.contains(resource) && context.base.audiences == [Narrowgate::Api::\"crm\"] && \
        context.base.proof.method == \"none\" && context.base.claimed has tags && context.base.lifetime <= duration(\"10m\") && \
        context.base.caller.transport == \"uds\" && context.base.now.toTime() < duration(\"23h\") };";
    let (snapshot, _) = of_texts([every], &entities());
    let plain = key_of(&snapshot, |_, _| {}).unwrap();
    assert_eq!(key_of(&snapshot, |_, _| {}), Some(plain.clone()));
    type Change = fn(&mut BTreeMap<&'static str, Value<'static>>, &mut Question<'static>);
    let changes: [Change; 10] = [
        |_, question| question.principal = Uid::new("Agent", "b"),
        |_, question| question.resource = Uid::new("Scope", "crm.write"),
        |_, question| question.action = Uid::new("Action", "obtain"),
        |base, _| drop(base.insert("scopes", Value::set([entity("Scope", "crm.read"), entity("Scope", "openid")]))),
        |base, _| drop(base.insert("audiences", Value::set([entity("Api", "mail")]))),
        |base, _| drop(base.insert("proof", record([("method", text("mtls"))]))),
        |base, _| drop(base.insert("claimed", record([("tags", Value::set([text("a"), text("b c")]))]))),
        |base, _| drop(base.insert("claimed", record([]))),
        |base, _| drop(base.insert("lifetime", duration(Duration::from_secs(601)))),
        |base, _| drop(base.insert("now", now(Wall(1_795_391_999_000)))),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let other = key_of(&snapshot, change);
        assert_ne!(other.as_ref(), Some(&plain), "change {number}");
    }
    let others: [Change; 3] = [
        |base, _| drop(base.insert("lifetime", duration(Duration::from_secs(599)))),
        |base, _| drop(base.insert("now", now(Wall(1_795_340_777_000)))),
        |base, _| drop(base.insert("actors", record([("depth", count(2)), ("members", Value::set([]))]))),
    ];
    for (number, change) in others.into_iter().enumerate() {
        assert_eq!(key_of(&snapshot, change), Some(plain.clone()), "change {number} is none");
    }
    let (mut later, _) = of_texts([every], &entities());
    later.generation = 2;
    assert_ne!(key_of(&later, |_, _| {}), Some(plain));
    // Used in another way than in a comparison, the clock makes an answer one for this moment alone.
    let opaque = "@id(\"p\") permit (principal, action == Narrowgate::Action::\"grant_scope\", resource) \
        when { [datetime(\"2026-11-25\")].contains(context.base.now.toDate()) };";
    let (snapshot, _) = of_texts([opaque], &entities());
    assert_eq!(key_of(&snapshot, |_, _| {}), None);
    assert_eq!(snapshot.uncacheable().map(|(id, _)| id).collect::<Vec<_>>(), ["p"]);
}

/// Answers to one question about a scope, at this time.
fn answered(snapshot: &Snapshot, scope: &'static str, at: Wall, id: u128) -> Answered {
    let attestation = record([("method", text("unix-peer")), ("verified", boolean(true))]);
    let base = record([
        ("now", now(at)),
        ("caller", record([("transport", text("uds")), ("attestation", attestation)])),
        ("scopes", Value::set([entity("Scope", scope)])),
        ("audiences", Value::set([])),
        ("proof", record([("method", text("none"))])),
        ("lifetime", duration(Duration::from_secs(300))),
        ("claimed", record([])),
        ("actors", record([("depth", count(0)), ("members", Value::set([]))])),
    ]);
    let question = Question {
        principal: Uid::new("Agent", "a"),
        action: Uid::new("Action", "grant_scope"),
        resource: Uid::new("Scope", scope),
        context: context([("base", base), ("client", entity("Client", "crm")), ("flow", text("hold"))]),
    };
    let steps = [Step { part: Part::Gate, question: Some(question) }];
    snapshot.answers(&Round {
        steps: &steps,
        own: &[],
        keeping: None,
        id: DecisionId(Uuid::from_u128(id)),
        recorded: true,
    })
}

// rows: CACH-05
#[test]
fn a_yes_is_kept_for_minutes_a_no_for_moments_and_neither_without_its_record() {
    let rule = "@id(\"p\") permit (principal, action == Narrowgate::Action::\"grant_scope\", \
        resource == Narrowgate::Scope::\"crm.read\");";
    let (snapshot, _) = of_texts([rule], &entities());
    let start = Wall(1_795_340_000_000);
    let at = |seconds: i64| Wall(start.0 + seconds * 1_000);
    let by = |answered: &Answered| answered.by.map(|id| id.0.as_u128());
    let mut number = 0;
    let mut ask = |scope, seconds| {
        number += 1;
        answered(&snapshot, scope, at(seconds), number)
    };
    for (scope, kept) in [("crm.read", 600), ("crm.write", 3)] {
        let first = ask(scope, 0);
        assert_eq!(by(&first), None);
        // Until they are on record, whoever has the same answers keeps the questions, and tells whose they are.
        let second = ask(scope, 0);
        assert!(by(&second).is_some() && second.asked.is_some());
        assert!(Arc::ptr_eq(second.asked.as_ref().unwrap(), first.asked.as_ref().unwrap()));
        // What nobody could record any more is asked anew.
        drop((first, second));
        let third = ask(scope, 0);
        assert_eq!(by(&third), None);
        third.asked.unwrap().is_recorded();
        let known = ask(scope, kept - 1);
        assert!(by(&known).is_some() && known.asked.is_none(), "{scope}");
        assert_eq!(by(&ask(scope, -1)), None, "the clock was set back before it");
        assert_eq!(by(&ask(scope, kept)), None, "{scope}");
    }
}
