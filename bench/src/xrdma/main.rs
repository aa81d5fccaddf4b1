//! The rivals of shipped code: pointer chases and increments whose handlers are compiled into the servers.
//!
//! `native-xrdma TRANSPORT SERVERS WORDS SECONDS MODE… -- DEPTH…` starts servers that hold a table of WORDS words in blocks (word `i` holds the
//! index that comes after `i`, see [`successor`]), and follows its indices, for each MODE and DEPTH for about SECONDS:
//!
//! - `get`: the origin fetches word after word one-sidedly;
//! - `read`: the origin asks the server that has the word, and gets it back, by active messages;
//! - `am`: a message goes from server to server and is answered by the last one, which is what shipped code does;
//! - `increment`: DEPTH is the bytes of payload; a server adds to a counter and answers;
//! - `stream`: the same without an answer, but to the last of many.
//!
//! It prints a line for each, `mode=… depth=… median_ns=… p99_ns=… rounds=…`; for `stream`, the time of one message. Everything else is as in a
//! node: the same fabric, header and tag, the same spinning and sleeping. There is no code to look up, and nothing that could fault.

mod origin;
mod server;
mod wire;

use std::process::ExitCode;

/// Words of the table are a permutation with one cycle: a linear congruence with full period, for tables of a power of two.
pub(crate) fn successor(index: u64, words: u64) -> u64 {
    (index.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)) & (words - 1)
}

/// The table, as everybody knows it.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    /// Words of all of it: a power of two.
    pub(crate) words: u64,
    /// Servers, which have equal blocks of it.
    pub(crate) servers: u64,
}

impl Table {
    /// Words of one block.
    pub(crate) fn block(&self) -> u64 {
        self.words.div_ceil(self.servers)
    }

    /// The server that has a word.
    pub(crate) fn owner(&self, index: u64) -> usize {
        (index / self.block()) as usize
    }
}

pub(crate) type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["--serve", transport, number, servers, words] => {
            parse(servers, words).and_then(|table| server::serve(transport, number.parse()?, table))
        }
        [transport, servers, words, seconds, rest @ ..] => parse(servers, words)
            .and_then(|table| origin::measure(transport, table, seconds.parse()?, rest)),
        _ => Err("usage: native-xrdma TRANSPORT SERVERS WORDS SECONDS MODE... -- DEPTH...".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("native-xrdma: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(servers: &str, words: &str) -> Result<Table, Failure> {
    let table = Table {
        servers: servers.parse()?,
        words: words.parse()?,
    };
    if table.servers == 0 || !table.words.is_power_of_two() {
        return Err("there must be a server, and the words be a power of two".into());
    }
    Ok(table)
}
