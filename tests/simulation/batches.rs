//! Batches: several are under way at once; they reach the server, and the host learns of it, in any order.

use heddle_flow::flow::Refused;
use heddle_values::handlers::HandlerIx;
use rand::RngExt;

use crate::acquire::fenced;
use crate::host::{Answer, Host};
use crate::model::{Checked, Promise, ensure};
use crate::sabotage::Sabotage;
use crate::server::Refusal;
use crate::world::{World, choose};

/// Batches under way at once.
const MAX_BATCHES: usize = 3;

impl World {
    /// Sends the next batch, if there is one to be sent.
    pub(crate) fn commit(&mut self) -> Checked<bool> {
        if self.host.under_way.len() >= MAX_BATCHES || !self.host.flow.commits().is_due() {
            return Ok(false);
        }
        let lag = self.random.random_range(0..100);
        self.host.touch_lagging(lag);
        let host = &mut self.host;
        let Some(batch) = host.flow.next_batch(&host.positions, self.now) else { return Ok(false) };
        ensure(!batch.checkpoints.is_empty(), Promise::Checkpoint, || {
            "batch without a checkpoint".to_owned()
        })?;
        if self.sabotage != Some(Sabotage::TakesOutOfOrder) {
            let (lost, handlers) = (&host.lost, &host.handlers);
            let of = |shard: u16| !lost.contains(&shard);
            self.model.built(batch, of, |handler, sequence| (handlers[handler], sequence))?;
        }
        host.under_way.push((batch.number, None));
        Ok(true)
    }

    /// One of the batches under way reaches the server.
    pub(crate) fn arrive(&mut self) -> Checked<bool> {
        let on_their_way: Vec<usize> = self.waiting_batches(false);
        let Some(index) = choose(&mut self.random, on_their_way.len()) else { return Ok(false) };
        let index = on_their_way.get(index).copied().unwrap_or_default();
        let Host { under_way, flow, handlers, lost, .. } = &mut self.host;
        let Some((number, answer)) = under_way.get_mut(index) else { return Ok(false) };
        let names = flow.origins().names.clone();
        let Some(batch) = flow.batch_mut(*number) else { return Ok(false) };
        if self.sabotage == Some(Sabotage::TakesLostForStored) && batch.number % 3 == 0 {
            *answer = Some(Answer::Stored(0));
            return Ok(true);
        }
        match self.server.store(&batch.messages) {
            Ok(first) => {
                let late = batch.checkpoints.iter().find(|(shard, ..)| lost.contains(shard));
                ensure(late.is_none(), Promise::ExactlyOnce, || {
                    format!("{late:?} of a lost shard is stored")
                })?;
                *answer = Some(Answer::Stored(first));
                let id_of = |handler: HandlerIx, sequence| (handlers[handler], sequence);
                self.model.stored((batch, first), &self.server, &names, id_of)?;
            }
            Err(Refusal::Content(reason)) => *answer = Some(Answer::Refused(reason)),
            Err(refusal @ Refusal::Fenced(_)) => {
                let knows = batch.checkpoints.iter().any(|(shard, ..)| lost.contains(shard));
                ensure(knows, Promise::ExactlyOnce, || fenced(&refusal).text)?;
                *answer = Some(Answer::Fenced);
            }
        }
        Ok(true)
    }

    /// The host learns what became of one of the batches under way.
    pub(crate) fn learn(&mut self) -> Checked<bool> {
        let answered = self.waiting_batches(true);
        let Some(index) = choose(&mut self.random, answered.len()) else { return Ok(false) };
        let index = answered.get(index).copied().unwrap_or_default();
        let (number, Some(answer)) = self.host.under_way.swap_remove(index) else { return Ok(false) };
        match answer {
            Answer::Stored(first) => {
                self.host.stored(number, first, self.now, self.sabotage);
                self.host.holds(&self.model)?;
                self.host.knows_attempts(&self.model)?;
            }
            Answer::Refused(reason) => match self.host.flow.refused(number) {
                Some(Refused::Again) => self.host.sync(),
                Some(Refused::AtFault(unit)) => {
                    self.host.reset(&unit, &reason, self.now, (&self.scene, &mut self.model));
                }
                other => ensure(false, Promise::ExactlyOnce, || format!("a refusal makes {other:?}"))?,
            },
            Answer::Fenced => self.learn_of_loss(number)?,
        }
        Ok(true)
    }

    /// Where the batches are that the server has, or has not, answered.
    fn waiting_batches(&self, answered: bool) -> Vec<usize> {
        let batches = self.host.under_way.iter().enumerate();
        batches.filter(|(_, (_, answer))| answer.is_some() == answered).map(|(index, _)| index).collect()
    }
}
