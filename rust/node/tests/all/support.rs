//! Nodes as children, clients, and waiting for things to happen.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bitcode_client::{Call, CallOptions, CallState, Client, ClientError, Code, Outcome};
use bitcode_client::{Session, SessionStats};
use bitcode_transport::{Segment, Settings, UcxFabric};
use serde_json::Value;

use crate::archives::archive;

/// Longer than anything here takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Waits until something is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < LONG, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A node that dies with the test.
pub(crate) struct Node {
    pub(crate) child: Child,
    pub(crate) ready: Value,
    input: Option<ChildStdin>,
    log: Arc<Mutex<String>>,
    logger: Option<JoinHandle<()>>,
}

/// The program, told to end with us.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitcode-node"));
    command
        .args(arguments)
        .arg("--exit-on-stdin-eof")
        .env_remove("UCX_TLS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Node {
    /// Starts a node and waits until it is ready.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = program(arguments).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let lines = Arc::clone(&log);
        let logger = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = lines.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let (tell, told) = channel();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let _ = tell.send(line);
            // Kept open: a node whose output is closed would be told so by a signal.
            let _ = stdout.read_to_end(&mut Vec::new());
        });
        let line = told.recv_timeout(LONG).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| {
            panic!(
                "{error} in the ready line {line:?}; {}",
                log.lock().unwrap()
            )
        });
        Self {
            input: child.stdin.take(),
            child,
            ready,
            log,
            logger: Some(logger),
        }
    }

    pub(crate) fn address(&self) -> &str {
        self.ready["address"].as_str().unwrap()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn until_logged(&self, text: &str) {
        until(text, || self.log().contains(text));
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// Waits for its end. Returns the whole log, too.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        until("the node's end", || {
            self.child.try_wait().unwrap().is_some()
        });
        self.logger.take().map(JoinHandle::join);
        (self.child.wait().unwrap(), self.log())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the node's log:\n{}", self.log());
        }
    }
}

/// A client over the given transport.
pub(crate) fn client(transport: &str) -> Client<UcxFabric> {
    let settings = Settings::with_transport(transport.parse().unwrap());
    Client::new(UcxFabric::new(&settings).unwrap()).unwrap()
}

/// A client with a session.
pub(crate) struct Origin {
    pub(crate) client: Client<UcxFabric>,
    pub(crate) session: Session<UcxFabric>,
}

impl Origin {
    pub(crate) fn connect(transport: &str, node: &Node) -> Self {
        let client = client(transport);
        let session = client.connect(node.address(), None, LONG).unwrap();
        Self { client, session }
    }

    pub(crate) fn code(&self, name: &str, text: &str) -> Code {
        self.client.code(archive(name, text)).unwrap()
    }

    /// Begins a call with a word.
    pub(crate) fn begin(&self, code: &Code, word: i64) -> Call<UcxFabric> {
        let payload = owned(word.to_le_bytes().to_vec());
        self.session
            .call(code, &payload, &CallOptions::default())
            .unwrap()
    }

    /// Calls with a word for a word.
    pub(crate) fn word(&self, code: &Code, word: i64) -> i64 {
        let call = self.begin(code, word);
        let bytes = value(&call);
        i64::from_le_bytes(bytes.try_into().unwrap())
    }

    pub(crate) fn stats(&self) -> SessionStats {
        self.session.stats()
    }
}

pub(crate) fn owned(bytes: Vec<u8>) -> [Segment<'static>; 1] {
    [Segment::shared(Arc::new(bytes))]
}

/// Waits for a value.
pub(crate) fn value(call: &Call<UcxFabric>) -> Vec<u8> {
    call.wait(Some(LONG));
    match call.outcome() {
        Some(Outcome::Value(bytes)) => bytes.to_vec(),
        other => panic!("{other:?} is no value"),
    }
}

/// Waits for an error.
pub(crate) fn error(call: &Call<UcxFabric>) -> ClientError {
    assert_eq!(call.wait(Some(LONG)), CallState::Error);
    match call.outcome() {
        Some(Outcome::Error(error)) => error.clone(),
        other => panic!("{other:?} is no error"),
    }
}
