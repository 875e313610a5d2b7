//! A publisher of the raw protocol: sends bytes that no client library would.

use std::collections::BTreeMap;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::{PATIENCE, Server};

/// A message as bytes.
#[derive(Debug, Clone, Default)]
pub struct RawMessage {
    /// The subject, sent as it is, valid or not. An ASCII blank, a tab or a line end would end it.
    pub subject: Vec<u8>,
    /// The whole header block, version line included; empty: the message has no headers.
    pub block: Vec<u8>,
    /// The payload, which may be any bytes: its length is sent before it.
    pub payload: Vec<u8>,
}

impl RawMessage {
    /// A message with these header lines between an ordinary version line and an ordinary end.
    pub fn with_lines(subject: &[u8], lines: &[u8], payload: &[u8]) -> Self {
        let block = [b"NATS/1.0\r\n", lines, b"\r\n\r\n"].concat();
        RawMessage { subject: subject.to_vec(), block, payload: payload.to_vec() }
    }

    fn encode(&self, inbox: &str, number: usize) -> Vec<u8> {
        let (head, body) = (self.block.len(), self.block.len() + self.payload.len());
        let mut bytes = if head == 0 { b"PUB ".to_vec() } else { b"HPUB ".to_vec() };
        bytes.extend(&self.subject);
        bytes.extend(format!(" {inbox}.{number} ").bytes());
        if head > 0 {
            bytes.extend(format!("{head} ").bytes());
        }
        bytes.extend(format!("{body}\r\n").bytes());
        bytes.extend(&self.block);
        bytes.extend(&self.payload);
        bytes.extend(b"\r\n");
        bytes
    }
}

/// A connection to a server.
pub struct Wire {
    input: BufReader<OwnedReadHalf>,
    output: OwnedWriteHalf,
    inbox: String,
}

impl Wire {
    /// Connects without a login.
    pub async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).await.expect("the server listens");
        let (input, mut output) = stream.into_split();
        let inbox = format!("_INBOX.{:016x}", rand::random::<u64>());
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true}}\r\nSUB {inbox}.* 1\r\n"
        );
        output.write_all(hello.as_bytes()).await.expect("the server reads");
        Wire { input: BufReader::new(input), output, inbox }
    }

    /// Publishes messages, all at once; where each was stored, none for one that the server or the stream refused.
    pub async fn publish(&mut self, messages: &[RawMessage]) -> Vec<Option<u64>> {
        let bytes: Vec<u8> =
            (0..).zip(messages).flat_map(|(number, message)| message.encode(&self.inbox, number)).collect();
        let (input, output) = (&mut self.input, &mut self.output);
        let sent = async { output.write_all(&bytes).await.expect("the server reads") };
        let answered = async {
            let mut answers = BTreeMap::new();
            let mut refused = 0;
            while answers.len() + refused < messages.len() {
                match read(input).await {
                    Read::Answer(number, sequence) => drop(answers.insert(number, sequence)),
                    Read::Refused => refused += 1,
                    Read::Other => {}
                }
            }
            answers
        };
        let both = async { tokio::join!(sent, answered) };
        let ((), mut answers) = tokio::time::timeout(PATIENCE, both).await.expect("the server answers");
        (0..messages.len()).map(|number| answers.remove(&number).flatten()).collect()
    }

    /// Publishes one message that the stream accepts; where it was stored.
    pub async fn publish_one(&mut self, message: RawMessage) -> u64 {
        let stored = self.publish(&[message]).await;
        stored.first().copied().flatten().expect("the stream accepts the message")
    }
}

enum Read {
    Answer(usize, Option<u64>),
    /// The server did not accept a subject.
    Refused,
    Other,
}

async fn read(input: &mut BufReader<OwnedReadHalf>) -> Read {
    let mut line = String::new();
    let read = input.read_line(&mut line).await.expect("what the server says is text");
    assert!(read > 0, "the server has closed the connection");
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["-ERR", ..] => Read::Refused,
        ["MSG" | "HMSG", inbox, .., length] => {
            let number =
                inbox.rsplit('.').next().and_then(|n| n.parse().ok()).expect("an answer is numbered");
            let mut body = vec![0; length.parse::<usize>().expect("a length is a number") + 2];
            input.read_exact(&mut body).await.expect("the answer comes whole");
            let answer: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            let stored = answer.filter(|answer| answer.get("error").is_none());
            Read::Answer(number, stored.and_then(|answer| answer.get("seq")?.as_u64()))
        }
        _ => Read::Other,
    }
}
