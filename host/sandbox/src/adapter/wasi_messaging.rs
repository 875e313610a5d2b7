//! Handlers written for the draft of `wasi:messaging`: messages, clients and options are handles of the store's table.
//!
//! What a guest holds in messages counts as its memory, for the host holds it in its stead.

mod message;

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::Resource;

use self::message::Message;
use self::wasi::messaging::types::Error;
use self::wasi::messaging::{producer, request_reply, types};
use super::GivenUp;
use crate::guest::{Guest, NO_REQUEST};
use heddle_values::effects::Refusal;
use heddle_values::names::REPLY_TO;

wasmtime::component::bindgen!({
    path: "wit/wasi-messaging",
    world: "messaging-request-reply",
    with: {
        "wasi:messaging/types.client": Client,
        "wasi:messaging/types.message": message::Message,
        "wasi:messaging/request-reply.request-options": RequestOptions,
    },
    imports: { default: trappable },
    exports: { default: async },
});

/// A connection, to the only place there is: the application's stream.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings name it")]
pub struct Client;

/// Options of a request. Nothing is kept of them, since there are no requests.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings name it")]
pub struct RequestOptions;

/// Hands a handler the event of the run.
pub(super) async fn handle(
    handler: &MessagingRequestReply,
    store: &mut Store<Guest>,
) -> wasmtime::Result<Result<(), GivenUp>> {
    let guest = store.data_mut();
    let event = Arc::clone(&guest.running().event);
    let message = guest.keep_message(Message::received(event))?;
    let answer = handler.wasi_messaging_incoming_handler().call_handle(store, message).await?;
    Ok(answer.map_err(|error| match error {
        Error::Timeout => GivenUp::Retry("timeout".to_owned()),
        Error::Connection(reason) => GivenUp::Retry(reason),
        Error::PermissionDenied(reason) => GivenUp::Reject(reason),
        Error::Other(reason) => GivenUp::Failed(reason),
    }))
}

fn error(refusal: Refusal) -> Error {
    match refusal {
        Refusal::NotGranted(_) => Error::PermissionDenied(refusal.to_string()),
        _ => Error::Other(refusal.to_string()),
    }
}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl Guest {
    fn keep_message(&mut self, message: Message) -> wasmtime::Result<Resource<Message>> {
        self.limiter.keep(message.size())?;
        self.keep(message)
    }

    fn take_message(&mut self, message: Resource<Message>) -> wasmtime::Result<Message> {
        let message = self.table.delete(message)?;
        self.limiter.let_go(message.size());
        Ok(message)
    }

    fn message(&mut self, message: &Resource<Message>) -> wasmtime::Result<&Message> {
        self.call()?;
        Ok(self.table.get(message)?)
    }

    fn change(
        &mut self,
        handle: &Resource<Message>,
        change: impl FnOnce(&mut Message),
    ) -> wasmtime::Result<()> {
        self.call()?;
        let message = self.table.get_mut(handle)?;
        let before = message.size();
        change(message);
        let after = message.size();
        self.limiter.let_go(before);
        self.limiter.keep(after)
    }
}

impl types::Host for Guest {}

impl types::HostClient for Guest {
    fn connect(&mut self, _name: String) -> Answer<Resource<Client>> {
        self.call()?;
        Ok(Ok(self.keep(Client)?))
    }

    fn disconnect(&mut self, _client: Resource<Client>) -> Answer<()> {
        self.call()?;
        Ok(Ok(()))
    }

    fn drop(&mut self, client: Resource<Client>) -> wasmtime::Result<()> {
        self.table.delete(client)?;
        Ok(())
    }
}

impl types::HostMessage for Guest {
    fn new(&mut self, data: Vec<u8>) -> wasmtime::Result<Resource<Message>> {
        self.call()?;
        self.keep_message(Message::new(data.into()))
    }

    fn topic(&mut self, message: Resource<Message>) -> wasmtime::Result<Option<String>> {
        Ok(self.message(&message)?.topic().map(str::to_owned))
    }

    fn content_type(&mut self, message: Resource<Message>) -> wasmtime::Result<Option<String>> {
        Ok(self.message(&message)?.content_type.clone())
    }

    fn set_content_type(&mut self, message: Resource<Message>, content_type: String) -> wasmtime::Result<()> {
        self.change(&message, |message| message.content_type = Some(content_type))
    }

    fn data(&mut self, message: Resource<Message>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.message(&message)?.data.to_vec())
    }

    fn set_data(&mut self, message: Resource<Message>, data: Vec<u8>) -> wasmtime::Result<()> {
        self.change(&message, |message| message.data = data.into())
    }

    fn metadata(&mut self, message: Resource<Message>) -> wasmtime::Result<Option<types::Metadata>> {
        let metadata = &self.message(&message)?.metadata;
        Ok((!metadata.is_empty()).then(|| metadata.clone()))
    }

    fn add_metadata(
        &mut self,
        message: Resource<Message>,
        key: String,
        value: String,
    ) -> wasmtime::Result<()> {
        self.change(&message, |message| message.add(key, value))
    }

    fn set_metadata(
        &mut self,
        message: Resource<Message>,
        metadata: types::Metadata,
    ) -> wasmtime::Result<()> {
        self.change(&message, |message| message.metadata = metadata)
    }

    fn remove_metadata(&mut self, message: Resource<Message>, key: String) -> wasmtime::Result<()> {
        self.change(&message, |message| message.remove(&key))
    }

    fn drop(&mut self, message: Resource<Message>) -> wasmtime::Result<()> {
        self.take_message(message).map(drop)
    }
}

impl producer::Host for Guest {
    fn send(&mut self, _: Resource<Client>, topic: String, message: Resource<Message>) -> Answer<()> {
        let event = Arc::clone(self.event()?);
        let message = self.take_message(message)?.publish(topic, &event);
        Ok(self.send(&event, message).map_err(error))
    }
}

impl request_reply::Host for Guest {
    fn request(
        &mut self,
        _: Resource<Client>,
        topic: String,
        _: Resource<Message>,
        options: Option<Resource<RequestOptions>>,
    ) -> Answer<Vec<Resource<Message>>> {
        self.call()?;
        if let Some(options) = options {
            self.table.delete(options)?;
        }
        Ok(Err(error(self.refuse(format!("no request to `{topic}`: {NO_REQUEST}")))))
    }

    fn reply(&mut self, reply_to: Resource<Message>, message: Resource<Message>) -> Answer<()> {
        let event = Arc::clone(self.event()?);
        let answers_it = self.table.get(&reply_to)?.is(&event);
        let (headers, payload) = self.take_message(message)?.content(&event);
        if !answers_it {
            return Ok(Err(error(self.refuse("only the message of this run can be replied to"))));
        }
        // The draft has it that where nobody waits for a reply, replying does nothing.
        if event.header(REPLY_TO).is_none() {
            return Ok(Ok(()));
        }
        Ok(self.answer(&event, headers, payload).map_err(error))
    }
}

impl request_reply::HostRequestOptions for Guest {
    fn new(&mut self) -> wasmtime::Result<Resource<RequestOptions>> {
        self.call()?;
        self.keep(RequestOptions)
    }

    fn set_timeout_ms(&mut self, _: Resource<RequestOptions>, _timeout_ms: u32) -> wasmtime::Result<()> {
        self.call().map(drop)
    }

    fn set_expected_replies(&mut self, _: Resource<RequestOptions>, _replies: u32) -> wasmtime::Result<()> {
        self.call().map(drop)
    }

    fn drop(&mut self, options: Resource<RequestOptions>) -> wasmtime::Result<()> {
        self.table.delete(options)?;
        Ok(())
    }
}
