//! A server: has a block of the table and a counter, and does what messages say.

use std::io::{BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitcode_transport::{
    Body, Fabric, HeaderBytes, PeerFailure, PeerId, Region, Sink, Token, TransportError,
};

use crate::wire::{Net, Op, hex, patience, turn, word, words};
use crate::{Failure, Table, successor};

struct Server {
    net: Arc<Net>,
    table: Table,
    number: usize,
    block: Arc<dyn Region>,
    counter: u64,
}

/// Serves until its input ends. Prints its addresses for all others and the key to its block, then wants theirs.
pub(crate) fn serve(transport: &str, number: usize, table: Table) -> Result<(), Failure> {
    let count = table.servers as usize + 1;
    let (net, addresses) = Net::open(transport, number, count)?;
    let block = net.fabric.allocate(8 * table.block() as usize)?;
    for address in &addresses {
        println!("{address}");
    }
    println!("{}", hex(&block.key()?));
    let mut lines = std::io::stdin().lock().lines();
    for there in (0..count).filter(|it| *it != number) {
        let address = lines
            .next()
            .ok_or("the addresses of the others are missing")??;
        net.connect(there, &address)?;
    }
    drop(lines);
    let mut server = Server {
        net: Arc::new(net),
        table,
        number,
        block,
        counter: 0,
    };
    server.fill();
    println!("ready");
    let net = Arc::clone(&server.net);
    let over = Arc::new(AtomicBool::new(false));
    let (watched, told) = (Arc::clone(&net), Arc::clone(&over));
    // To leave from here would end UCX under the thread that drives it.
    std::thread::spawn(move || {
        // Whatever ends the input, the origin is gone.
        let _ = std::io::stdin().read_to_string(&mut String::new());
        told.store(true, Ordering::Release);
        watched.fabric.wake();
    });
    let mut patience = patience();
    while !over.load(Ordering::Acquire) {
        turn(&net.fabric, &mut patience, &mut server);
    }
    Ok(())
}

impl Server {
    fn first(&self) -> u64 {
        self.number as u64 * self.table.block()
    }

    fn place(&self, index: u64) -> *mut u64 {
        let at = (index - self.first()) as usize;
        self.block.base().as_ptr().cast::<u64>().wrapping_add(at)
    }

    fn fill(&mut self) {
        let end = self.table.words.min(self.first() + self.table.block());
        for index in self.first()..end {
            // SAFETY: a word of the block.
            unsafe { *self.place(index) = successor(index, self.table.words) };
        }
    }

    fn has(&self, index: u64) -> bool {
        index < self.table.words && self.table.owner(index) == self.number
    }

    fn read(&self, index: u64) -> u64 {
        // SAFETY: the callers have seen that it is a word of the block; nobody writes to it any more.
        unsafe { *self.place(index) }
    }

    fn chase(&self, call: u64, mut index: u64, mut steps: u64) {
        while steps > 0 && self.has(index) {
            index = self.read(index);
            steps -= 1;
        }
        if steps > 0 && index < self.table.words {
            let there = self.table.owner(index);
            return self.net.send(there, Op::Chase, call, &words(index, steps));
        }
        self.answer(call, index);
    }

    fn answer(&self, call: u64, value: u64) {
        let origin = self.table.servers as usize;
        self.net
            .send(origin, Op::Answer, call, &value.to_le_bytes());
    }
}

impl Sink for Server {
    fn frame(&mut self, header: &HeaderBytes, body: &mut Body) {
        let body = body.bytes();
        let Some((header, op)) = self.net.believe(header, body.len()) else {
            return;
        };
        let index = word(body, 0);
        match op {
            Op::Read if self.has(index) => self.answer(header.call, self.read(index)),
            Op::Chase => self.chase(header.call, index, word(body, 1)),
            Op::Increment => {
                self.counter += 1;
                self.answer(header.call, self.counter);
            }
            Op::Stream => self.counter += 1,
            Op::Read | Op::Answer => {}
        }
    }

    fn sent(&mut self, _: Token, _: Result<(), TransportError>) {}

    fn peer_failed(&mut self, _: PeerId, _: PeerFailure) {}
}
