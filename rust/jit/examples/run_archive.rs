//! Runs an archive from a file: `run_archive ARCHIVE [PAYLOAD] [--repeat N] [--recompile N] [--ir]`.
//!
//! PAYLOAD is hexadecimal text, or `@FILE` for a file of raw bytes. Prints the outcome, the output in hexadecimal and the
//! times of compilation; with `--repeat` also the time of a call, with `--recompile` the times of so many more compilations; with `--ir` the optimised code instead of running it.

use bitcode_jit::{Jit, JitConfig, Outcome, Output, attach_thread};
use bitcode_wire::archive::Archive;
use bitcode_wire::code::CodeId;
use std::error::Error;
use std::io::Write;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = Vec::new();
    let (mut repeat, mut recompile, mut ir) = (0_u32, 0_u32, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--repeat" => repeat = arguments.next().ok_or("--repeat needs a number")?.parse()?,
            "--recompile" => {
                recompile = arguments
                    .next()
                    .ok_or("--recompile needs a number")?
                    .parse()?
            }
            "--ir" => ir = true,
            _ => words.push(argument),
        }
    }
    let path = words
        .first()
        .ok_or("usage: run_archive ARCHIVE [PAYLOAD] [--repeat N] [--ir]")?;
    let bytes = std::fs::read(path)?;
    let id = CodeId::of(&bytes);
    let archive = Archive::decode(&bytes)?;
    let payload = payload(words.get(1).map_or("", String::as_str))?;
    let jit = Jit::new(JitConfig::default())?;
    if ir {
        println!("{}", jit.explain(&archive)?);
        return Ok(());
    }
    attach_thread();
    let compiled = jit.compile(&id, &archive)?;
    eprintln!(
        "{}: {} bytes, {:?}",
        archive.manifest.name,
        compiled.code_bytes(),
        compiled.timings()
    );
    for _ in 0..recompile {
        eprintln!("again: {:?}", jit.compile(&id, &archive)?.timings());
    }
    let mut output = Output::new();
    let outcome = compiled.call(aligned(&payload, &mut Vec::new()), &print, &mut output);
    println!("{outcome:?} {}", hex(output.bytes()));
    let mut room = Vec::new();
    let started = Instant::now();
    for _ in 0..repeat {
        let again = compiled.call(aligned(&payload, &mut room), &print, &mut output);
        if again != outcome {
            return Err(format!("the outcome changed to {again:?}").into());
        }
    }
    if repeat > 0 {
        eprintln!(
            "{} ns per call",
            started.elapsed().as_nanos() / u128::from(repeat)
        );
    }
    if let Outcome::Fault { signal } = outcome {
        return Err(format!("the code died of signal {signal}").into());
    }
    Ok(())
}

/// What the code prints goes to the stream of ours that it names.
fn print(stream: u8, text: &[u8], open: bool) {
    let end: &[u8] = if open || text.ends_with(b"\n") {
        b""
    } else {
        b"\n"
    };
    let text = [text, end].concat();
    // A reader that is gone wants no more.
    let _ = match stream {
        1 => std::io::stdout().write_all(&text),
        _ => std::io::stderr().write_all(&text),
    };
}

/// A copy that starts at a multiple of 64, as the node's receive buffers do.
fn aligned<'a>(payload: &[u8], room: &'a mut Vec<u8>) -> &'a mut [u8] {
    room.clear();
    room.resize(payload.len() + 64, 0);
    let skip = room.as_ptr().align_offset(64);
    let place = &mut room[skip..skip + payload.len()];
    place.copy_from_slice(payload);
    place
}

fn payload(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    if let Some(path) = text.strip_prefix('@') {
        return Ok(std::fs::read(path)?);
    }
    let digits: Vec<u32> = text
        .chars()
        .map(|c| c.to_digit(16).ok_or("the payload is not hexadecimal"))
        .collect::<Result<_, _>>()?;
    if !digits.len().is_multiple_of(2) {
        return Err("the payload has half a byte too much".into());
    }
    Ok(digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
