//! What is promised of the flow by itself.

use std::num::NonZeroU16;

use super::*;
use crate::shard::Blame;
use crate::shards::PlannedHandler;
use heddle_values::batch::Keep;
use heddle_values::checkpoint::{Checkpoint, Progress};
use heddle_values::effects::Effects;
use heddle_values::event::{Headers, Source};
use heddle_values::names::Names;
use heddle_values::policy::{OnDeadLetter, RetryPolicy};
use heddle_values::verdict::CauseClass;

fn flow() -> Flow {
    flow_of(NonZeroU16::MIN)
}

/// A flow that owns this many shards, all of an application.
fn flow_of(shards: NonZeroU16) -> Flow {
    let handler = PlannedHandler {
        name: "h".into(),
        stream: "S".into(),
        key: "k".into(),
        on_dead_letter: OnDeadLetter::Continue,
    };
    let progress = Progress { stream: "S".into(), low: 1, ..Progress::default() };
    let checkpoint = Checkpoint { handlers: [("h".to_owned(), progress)].into(), ..Checkpoint::default() };
    let beginning = Beginning {
        plan: Plan {
            host: "one".into(),
            shards,
            handlers: vec![handler].into(),
            streams: Default::default(),
            checkpoint_bytes: 1 << 20,
        },
        origins: Arc::new(Origins {
            names: Names::new("app"),
            stream: "A".into(),
            host: "one".into(),
            handlers: vec!["h".into()].into(),
            keep_dead_letters: Keep::Always,
            max_payload: 1 << 20,
        }),
        claimed: Claimed::all(vec![(1, checkpoint); usize::from(shards.get())], []),
        stateless: vec![true].into(),
        full: 1,
        generation: 0,
    };
    Flow::new(beginning, 0)
}

/// Reads an event, and begins its run.
fn begun(flow: &mut Flow) -> Job {
    let job = asked_for(flow, 1, &Key::new("k"));
    assert!(matches!(flow.start(&job, 0), Start::With(None)));
    job
}

/// Reads an event of a key, which may run.
fn asked_for(flow: &mut Flow, sequence: u64, key: &Key) -> Job {
    let event = Event {
        stream: "S".into(),
        sequence,
        subject: "a".into(),
        time: 0,
        headers: Headers::default(),
        payload: Default::default(),
        source: Source::Stream,
    };
    assert_eq!(flow.read(HandlerIx::FIRST, Arc::new(event), (key.clone(), None), 0), Admission::Queued);
    let work: Vec<Work> = flow.actions().into_iter().filter_map(|placed| flow.perform(placed)).collect();
    let Ok([Work::Run(job)]) = <[Work; 1]>::try_from(work) else { panic!("one event runs") };
    job
}

fn done(flow: &mut Flow, job: &Job) -> bool {
    let rules = Rules { retry: &RetryPolicy::default(), blame: Blame::Event, ran_by: None };
    flow.ran(job, Verdict::Done(Effects::default()), None, rules, (0, 0))
}

#[test]
fn nothing_that_began_before_a_reset_is_heard_after_it() {
    let mut flow = flow();
    let job = begun(&mut flow);
    let ticket = flow.ticket(job.place, job.key.clone());
    done(&mut flow, &job);
    for placed in flow.actions() {
        assert!(flow.perform(placed).is_none());
    }
    let number = flow.next_batch(&vec![2].into(), 0).unwrap().number;
    let Some(Refused::AtFault(unit)) = flow.refused(number) else { panic!("one event is at fault") };
    flow.reset(&unit, "too large", 0);
    assert!(!flow.hears(job.place.shard, job.generation));
    done(&mut flow, &job);
    assert!(!flow.fetched(&ticket, Position::Stream(1), None, 0));
    assert!(!flow.taken_back(&ticket, Vec::new(), true, 0));
    assert!(!flow.removed(job.generation, &[(None, 1)]));
    assert!(flow.waiting().is_empty() && flow.commits().is_empty(), "nothing came of all that");
}

#[test]
fn an_event_whose_effects_are_refused_becomes_a_dead_letter_without_running_again() {
    let mut flow = flow();
    let job = begun(&mut flow);
    done(&mut flow, &job);
    for placed in flow.actions() {
        flow.perform(placed);
    }
    let number = flow.next_batch(&vec![2].into(), 0).unwrap().number;
    let Some(Refused::AtFault(unit)) = flow.refused(number) else { panic!("one event is at fault") };
    flow.reset(&unit, "too large", 0);
    flow.read(HandlerIx::FIRST, Arc::clone(&job.event), (Key::new("k"), None), 0);
    let again: Vec<Work> = flow.actions().into_iter().filter_map(|placed| flow.perform(placed)).collect();
    let Ok([Work::Run(again)]) = <[Work; 1]>::try_from(again) else { panic!("it comes again") };
    let Start::Refused(failure) = flow.start(&again, 0) else { panic!("it may not run") };
    assert_eq!(failure.class, CauseClass::Refused);
}

/// A key of each of two shards.
fn keys(flow: &Flow) -> [Key; 2] {
    let of = |shard| {
        let mut keys = (0..).map(|n| Key::new(&format!("k{n}")));
        keys.find(|key| key.shard(flow.shards().count()) == shard).unwrap()
    };
    [of(0), of(1)]
}

const TWO: NonZeroU16 = NonZeroU16::new(2).unwrap();

fn perform(flow: &mut Flow) -> Vec<Work> {
    flow.actions().into_iter().filter_map(|placed| flow.perform(placed)).collect()
}

#[test]
fn a_batch_that_is_refused_for_a_lost_shard_is_sent_again_for_the_others_and_before_what_came_later() {
    let mut flow = flow_of(TWO);
    let [lost, kept] = keys(&flow);
    for (sequence, key) in [(1, &lost), (2, &kept), (3, &kept)] {
        let job = asked_for(&mut flow, sequence, key);
        flow.start(&job, 0);
        assert!(!done(&mut flow, &job));
        perform(&mut flow);
        if sequence == 2 {
            assert_eq!(flow.next_batch(&vec![3].into(), 0).unwrap().units.len(), 2);
        }
    }
    let runs = asked_for(&mut flow, 4, &lost);
    flow.start(&runs, 0);
    assert!(!flow.lose(0), "its batch tells");
    let number = *flow.under_way.keys().next().unwrap();
    flow.fenced(number, &[0].into());
    assert_eq!(flow.shards().owned().collect::<Vec<_>>(), [1]);
    assert!(!flow.hears(0, runs.generation), "what runs of it is not heard");
    done(&mut flow, &runs);
    assert!(perform(&mut flow).is_empty());
    let batch = flow.next_batch(&vec![5].into(), 0).unwrap();
    let sequences: Vec<u64> = batch.units.iter().map(|unit| unit.settled.event.sequence).collect();
    assert_eq!(sequences, [2, 3]);
    assert_eq!(batch.checkpoints.iter().map(|(shard, ..)| *shard).collect::<Vec<_>>(), [1]);
    assert_eq!(batch.checkpoints[0].2.handlers["h"].low, 5, "what is of another host is passed over");
    let number = batch.number;
    flow.stored(number, 10, 0).unwrap();
    assert_eq!(flow.shards().held(HandlerIx::FIRST), crate::shard::Holding::default());
}

#[test]
fn a_shard_that_is_given_up_begins_nothing_and_is_free_when_all_that_ran_is_stored() {
    let mut flow = flow_of(TWO);
    let [leaving, kept] = keys(&flow);
    let job = asked_for(&mut flow, 1, &leaving);
    flow.start(&job, 0);
    flow.release(0);
    let event = Event { sequence: 2, ..(*job.event).clone() };
    flow.read(HandlerIx::FIRST, Arc::new(event), (kept, None), 0);
    let event = Event { sequence: 3, ..(*job.event).clone() };
    flow.read(HandlerIx::FIRST, Arc::new(event), (Key::new(&format!("{}x", leaving.as_str())), None), 0);
    let begun: Vec<Work> = perform(&mut flow);
    assert!(begun.iter().all(|work| matches!(work, Work::Run(job) if flow.may_begin(job.place.shard, 0))));
    assert!(flow.next_batch(&vec![4].into(), 0).is_none(), "one event of it runs still");
    done(&mut flow, &job);
    perform(&mut flow);
    let batch = flow.next_batch(&vec![4].into(), 0).unwrap();
    let (_, _, checkpoint) = batch.checkpoints.iter().find(|(shard, ..)| *shard == 0).unwrap();
    assert!(checkpoint.released && checkpoint.handlers["h"].low > 1);
    let number = batch.number;
    let stored = flow.stored(number, 10, 0).unwrap();
    assert_eq!((stored.gone, flow.shards().owned().collect::<Vec<_>>()), (vec![0], vec![1]));
}

#[test]
fn a_shard_that_is_not_waited_for_any_longer_is_free_and_what_runs_of_it_is_not_heard() {
    let mut flow = flow();
    let job = begun(&mut flow);
    flow.release(0);
    assert!(flow.next_batch(&vec![2].into(), 0).is_none());
    flow.abandon(0);
    assert!(!flow.hears(0, job.generation));
    let batch = flow.next_batch(&vec![2].into(), 0).unwrap();
    assert!(batch.units.is_empty() && batch.checkpoints[0].2.released);
    assert_eq!(batch.checkpoints[0].2.handlers["h"].low, 1, "its event is still to be done");
    let number = batch.number;
    assert_eq!(flow.stored(number, 10, 0).unwrap().gone, [0]);
    assert!(!done(&mut flow, &job) && perform(&mut flow).is_empty());
}

#[test]
fn a_shard_that_comes_back_goes_on_from_what_others_have_stored() {
    let mut flow = flow();
    let job = begun(&mut flow);
    assert!(flow.lose(0));
    let event = Arc::clone(&job.event);
    let read = flow.read(HandlerIx::FIRST, Arc::clone(&event), (Key::new("k"), None), 0);
    assert_eq!(read, Admission::Elsewhere);
    let progress = Progress { stream: "S".into(), low: 2, ..Progress::default() };
    let checkpoint =
        Checkpoint { claim: 7, handlers: [("h".to_owned(), progress)].into(), ..Checkpoint::default() };
    flow.claim(Claimed::all([(20, checkpoint)], []), &vec![false].into(), 0);
    assert!(!flow.hears(0, job.generation), "what began under the first claim is not heard under the second");
    assert_eq!(flow.read(HandlerIx::FIRST, event, (Key::new("k"), None), 0), Admission::Known);
    let next = asked_for(&mut flow, 2, &Key::new("k"));
    assert!(matches!(flow.start(&next, 0), Start::After(_)), "others may have written its state");
    done(&mut flow, &next);
    perform(&mut flow);
    let batch = flow.next_batch(&vec![3].into(), 0).unwrap();
    assert_eq!((batch.checkpoints[0].2.claim, batch.messages.last().unwrap().expected_last), (7, Some(20)));
}
