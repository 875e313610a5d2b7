//! What happens: one random step after the other, and then everything that is left, until nothing is.

use heddle_flow::shard::Hurry;
use rand::RngExt;

use crate::gates::Way;
use crate::model::{Checked, Fault, Promise, ensure};
use crate::sabotage::Sabotage;
use crate::scene::Scene;
use crate::world::{TICK, World};

/// More steps to the end than any world can need.
const MAX_STEPS: usize = 200_000;

/// What came of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Events and handlers.
    pub(crate) tasks: usize,
    pub(crate) runs: u64,
    pub(crate) lost: usize,
    /// Events that were held back and ran later.
    pub(crate) held_back: usize,
    /// Requests that were done.
    pub(crate) replays: usize,
    /// Runs that failed in an outage.
    pub(crate) free_runs: u64,
    /// Shards that were claimed from other hosts, or when they had none.
    pub(crate) claims: u64,
    /// Batches that were refused because a shard was lost.
    pub(crate) fenced: u64,
}

impl Tally {
    pub(crate) fn plus(self, other: &Tally) -> Tally {
        Tally {
            tasks: self.tasks + other.tasks,
            runs: self.runs + other.runs,
            lost: self.lost + other.lost,
            held_back: self.held_back + other.held_back,
            replays: self.replays + other.replays,
            free_runs: self.free_runs + other.free_runs,
            claims: self.claims + other.claims,
            fenced: self.fenced + other.fenced,
        }
    }
}

/// Runs the world of a seed to its end.
pub(crate) fn run(seed: u64, sabotage: Option<Sabotage>) -> Checked<Tally> {
    let mut world = World::new(Scene::of(seed), sabotage)?;
    let steps = world.scene.steps;
    let mut published = 0;
    for step in 0..steps {
        // The last events come a while before the end.
        while published * steps < world.scene.events * (step + 1) {
            world.publish();
            published += 1;
        }
        world.step()?;
        world.act()?;
    }
    world.come_to_rest()?;
    let tasks = world.model.tasks.values();
    let of_way = |way| {
        let tasks = world.model.tasks.iter().filter(|(_, task)| task.committed);
        tasks.filter(|((_, position), _)| Way::of(*position) == way).count()
    };
    Ok(Tally {
        tasks: tasks.len(),
        runs: tasks.clone().map(|task| u64::from(task.runs)).sum(),
        free_runs: tasks.clone().map(|task| u64::from(task.free_runs)).sum(),
        lost: tasks.filter(|task| task.lost).count(),
        claims: world.claims,
        fenced: world.fenced,
        held_back: of_way(Way::Held),
        replays: of_way(Way::Replay),
    })
}

impl World {
    /// Something happens, or perhaps not.
    fn step(&mut self) -> Checked {
        let scene = std::sync::Arc::clone(&self.scene);
        let one_of = |world: &mut World, n: u32| n > 0 && world.random.random_range(0..n) == 0;
        if self.is_shared() {
            self.turn_to_another();
            if one_of(self, scene.moves) {
                return self.relocate();
            }
        }
        if one_of(self, scene.crashes) {
            return if self.is_shared() { self.die() } else { self.crash(false) };
        }
        if one_of(self, scene.expiries) {
            self.expire();
        }
        if one_of(self, scene.requests) {
            self.request()?;
        }
        if one_of(self, scene.outages) {
            self.turn()?;
        }
        match self.random.random_range(0..20) {
            0 if self.catch_up()? => {}
            0..4 => {
                let repeats = scene.repeats && self.random.random_bool(0.3);
                self.read(repeats)?;
            }
            4..7 => drop(self.begin()?),
            7..10 => drop(self.end()?),
            10 => drop(self.commit()?),
            11 => drop(self.arrive()?),
            12 => drop(self.learn()?),
            13 => drop(self.fetch()),
            14 => {
                let milliseconds = self.random.random_range(0..=scene.pace);
                self.let_pass(milliseconds);
            }
            15 => drop(self.look()),
            16 => drop(self.take_in()?),
            17 => drop(self.take_back()),
            18 => drop(self.remove()),
            _ => {
                let open = self.host.outages.first().copied();
                if let Some(handler) = open.filter(|_| self.random.random_bool(0.5)) {
                    self.hurry(handler, Hurry::One)?;
                }
                self.tick_if_due();
            }
        }
        Ok(())
    }

    fn let_pass(&mut self, milliseconds: u64) {
        match self.sabotage {
            Some(Sabotage::NeverWakes) => self.now += milliseconds,
            Some(Sabotage::WakesEarly) => {
                self.pass(milliseconds + 60_000);
                self.now -= 60_000;
            }
            _ => self.pass(milliseconds),
        }
    }

    fn tick_if_due(&mut self) {
        if self.now.saturating_sub(self.ticked) >= TICK {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.ticked = self.now;
        for host in self.others.iter_mut().chain([&mut self.host]) {
            if std::mem::take(&mut host.moved) {
                host.touch_lagging(0);
            }
        }
    }

    /// Nothing new comes; all that can still happen does, with every handler back.
    fn come_to_rest(&mut self) -> Checked {
        let complete = self.host.handlers.len() == self.scene.handlers.len();
        if self.is_shared() {
            self.die()?;
        } else if !complete || self.random.random_bool(0.5) {
            self.crash(true)?;
        }
        for _ in 0..if self.scene.expiries > 0 { self.scene.events / 8 } else { 0 } {
            self.expire();
        }
        for _ in 0..=self.others.len() {
            self.turn_to_next();
            while !self.host.outages.is_empty() {
                self.turn()?;
            }
        }
        for _ in 0..MAX_STEPS {
            if self.random.random_range(0..20) == 0 {
                self.now += TICK;
                self.tick();
            }
            if self.any_host_steps()? || self.claim_what_nobody_owns()? {
                continue;
            }
            let hosts = || self.others.iter().chain([&self.host]);
            if let Some(due) = hosts().filter_map(|host| host.flow.shards().next_wake()).min()
                && self.sabotage != Some(Sabotage::NeverWakes)
            {
                let wait = due.saturating_sub(self.now);
                self.let_pass(wait);
                continue;
            }
            if hosts().any(|host| host.moved) {
                self.now += TICK;
                self.tick();
                continue;
            }
            if self.request_what_holds()? {
                continue;
            }
            return self.at_rest();
        }
        Err(Fault { promise: Promise::Progress, text: format!("there is no end: {}", self.picture()) })
    }

    /// One of the steps that are possible, of whichever host.
    fn any_host_steps(&mut self) -> Checked<bool> {
        for _ in 0..=self.others.len() {
            self.turn_to_next();
            self.act()?;
            if self.any_step()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One of the steps that are possible, whichever.
    fn any_step(&mut self) -> Checked<bool> {
        let first = self.random.random_range(0..12);
        for step in (first..12).chain(0..first) {
            let done = match step {
                0 => self.read(false)?,
                1 => self.begin()?,
                2 => self.end()?,
                3 => self.commit()?,
                4 => self.arrive()?,
                5 => self.learn()?,
                6 => self.fetch(),
                7 => self.look(),
                8 => self.take_in()?,
                9 => self.take_back(),
                10 => self.catch_up()?,
                _ => self.remove(),
            };
            if done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn at_rest(&mut self) -> Checked {
        self.model.at_rest()?;
        self.model.nothing_is_held(&self.server)?;
        for _ in 0..=self.others.len() {
            self.turn_to_next();
            let stuck = self.host.handlers.indices().any(|handler| self.has_unread(handler));
            ensure(!stuck, Promise::Progress, || format!("nothing more is read: {}", self.picture()))?;
            self.host.knows_attempts(&self.model)?;
            self.host.at_rest(&self.model)?;
        }
        Ok(())
    }
}
