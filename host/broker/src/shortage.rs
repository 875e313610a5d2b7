//! Shortages: the server has no room for what is asked of it, and will have once somebody makes some.
//!
//! Source: nats-server, `server/errors.json`.

/// What is used up, and the way out, by the number of the server's error. None: it means something else.
pub(super) fn shortage(code: u64) -> Option<&'static str> {
    Some(match code {
        10002 => {
            "the account's JetStream limits are used up: raise them, or remove messages (`nats account info`)"
        }
        10023 => {
            "the server has no room left for JetStream: raise `max_file_store` or `max_memory_store`, give it more disk space, or remove messages"
        }
        10026 => {
            "no more consumers are allowed: raise the limit of the account or the stream (`max_consumers`), or delete unused ones (`nats consumer ls`)"
        }
        10027 => "no more streams are allowed: raise the account's limit, or delete unused ones",
        10028 => "the server's memory for JetStream is used up: raise `max_memory_store`, or remove messages",
        10047 => {
            "the server's disk space for JetStream is used up: raise `max_file_store`, or remove messages"
        }
        10077 => {
            "the server cannot store in this stream: a limit of the stream or the account is reached, or its disk is full (`nats stream info`)"
        }
        _ => return None,
    })
}
