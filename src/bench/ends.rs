//! Both ends of a wire: processes of this same program, each on a core of its
//! own, driven over their standard input and output (`control`).
//!
//! Always true: an end never outlives the benchmark, which holds the pipe to its
//! standard input; the folder with the socket and the configurations goes with
//! the benchmark, or with the next one if this one is killed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use serde_json::Value;

use super::BenchWire;
use super::link::Link;
use super::machine::memory_of;
use crate::clock;
use crate::failure::Failure;
use crate::signals::Interrupted;

/// The server's address, the client's, and where the client's other addresses lie.
pub(super) const SERVER: &str = "10.80.0.2";
const CLIENT: &str = "10.80.0.1";
pub(super) const CLIENT_PREFIX: &str = "10.81.0.0/16";

/// Packet memory that EAL is promised; pools take what they need.
const EAL_MIB: u32 = 128;
/// EAL's start and a table for a hundred million connections.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long an end may take to go once it was asked to.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How often it is looked whether somebody asked for the end.
const LOOK: Duration = Duration::from_millis(100);
/// How a benchmark's folder is called, before the number of its process.
const FOLDER: &str = "crore-bench-";

/// What all pairs of ends of a benchmark share.
pub(super) struct Ends {
    pub(super) wire: BenchWire,
    /// The server's core, and the client's.
    pub(super) cores: [u16; 2],
    pub(super) interrupted: Interrupted,
    folder: Folder,
    /// What joins ends on af_packet.
    link: Option<Link>,
    /// Pairs made so far; each has a socket of its own.
    pairs: u32,
}

impl Ends {
    pub(super) fn new(wire: BenchWire, cores: [u16; 2], interrupted: Interrupted) -> Result<Self, Failure> {
        Ok(Self {
            wire,
            cores,
            interrupted,
            folder: Folder::new()?,
            link: match wire {
                BenchWire::AfPacket => Some(Link::new()?),
                BenchWire::Memif | BenchWire::Vhost | BenchWire::Ring => None,
            },
            pairs: 0,
        })
    }

    /// Starts a server and then a client, and waits until both are up.
    /// The words are those of the command line; what is set comes on top of
    /// both ends' configurations.
    pub(super) fn pair(&mut self, server: &Role, client: &Role) -> Result<(End, End), Failure> {
        self.pairs += 1;
        if self.wire == BenchWire::Ring {
            return self.both(server, client);
        }
        let mut server = self.start("server", server)?;
        server.wait_until_up(START_LIMIT)?;
        let client = self.start("client", client)?;
        Ok((server, client))
    }

    /// Both in one process, which is the client's with the server beside it.
    fn both(&self, server: &Role, client: &Role) -> Result<(End, End), Failure> {
        let mut role = client.clone();
        match &server.words[..] {
            [serve, service] if serve == "serve" => {
                let config = self.write_config("server")?;
                role = role.words(&format!("--serve {service}"));
                role.words
                    .extend(["--serve-config".into(), config.display().to_string()]);
                for (key, value) in &server.settings {
                    role.words
                        .extend(["--serve-set".into(), format!("{key}={value}")]);
                }
            }
            _ => role = role.words(&format!("--forwarder-core {}", self.cores[0])),
        }
        let (heard, answers) = mpsc::channel();
        let client = self.start_with("client", &role, Some(heard))?;
        let server = End {
            name: "server",
            child: client.child.clone(),
            commands: client.commands.clone(),
            lines: answers,
            interrupted: client.interrupted.clone(),
            wire: client.wire,
        };
        Ok((server, client))
    }

    fn write_config(&self, name: &str) -> Result<PathBuf, Failure> {
        let config = self.folder.0.join(format!("{name}-{}.toml", self.pairs));
        fs::write(&config, self.config(name == "server"))
            .map_err(|e| Failure::run(format!("{}: {e}", config.display())))?;
        Ok(config)
    }

    fn start(&self, name: &'static str, role: &Role) -> Result<End, Failure> {
        self.start_with(name, role, None)
    }

    /// The same; answers to `stats` go to `answers`, if there is one.
    fn start_with(
        &self,
        name: &'static str,
        role: &Role,
        answers: Option<Sender<String>>,
    ) -> Result<End, Failure> {
        let config = self.write_config(name)?;
        let program =
            std::env::current_exe().map_err(|e| Failure::run(format!("where this program lies: {e}")))?;
        let mut command = match &self.link {
            Some(link) => link.command(&program),
            None => Command::new(program),
        };
        command.args(["--log-level", "warn"]).args(&role.words);
        command.arg("--control").arg("--config").arg(&config);
        for (key, value) in &role.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        End::spawn(name, command, self.wire, &self.interrupted, answers)
    }

    fn config(&self, is_server: bool) -> String {
        let socket = self.folder.0.join(format!("wire-{}.sock", self.pairs));
        let wire = match (self.wire, is_server) {
            (BenchWire::Memif, true) => format!("kind = \"memif\"\nrole = \"server\"\nsocket = {socket:?}"),
            (BenchWire::Memif, false) => format!("kind = \"memif\"\nrole = \"client\"\nsocket = {socket:?}"),
            (BenchWire::Vhost, true) => format!("kind = \"vhost\"\nsocket = {socket:?}"),
            (BenchWire::Vhost, false) => format!("kind = \"virtio_user\"\nsocket = {socket:?}"),
            (BenchWire::Ring, _) => "kind = \"ring\"".to_owned(),
            (BenchWire::AfPacket, is_server) => {
                format!(
                    "kind = \"af_packet\"\ninterface = {:?}",
                    Link::interface(is_server)
                )
            }
        };
        let (core, net) = if is_server {
            // All of the client's addresses lie behind one of them.
            let net = format!("addresses = [\"{SERVER}/24\"]\ngateway_v4 = \"{CLIENT}\"");
            (self.cores[0], net)
        } else {
            (self.cores[1], format!("addresses = [\"{CLIENT}/24\"]"))
        };
        format!(
            "[wire]\n{wire}\n[net]\n{net}\n[eal]\ncores = [{core}]\nmemory_mb = {EAL_MIB}\n\
             [serve]\nidle_timeout_seconds = 0\ndrain_seconds = 1\n"
        )
    }
}

/// Waits, at most `limit`, until a client has done what it was there for, and
/// ends both; gives the last that the client said, and the server.
pub(super) fn finish(mut client: End, server: End, limit: Duration) -> Result<(Value, Value), Failure> {
    client.wait_until_stopped(limit)?;
    end(client, server)
}

/// Ends both, of which the client polls no more.
pub(super) fn end(client: End, server: End) -> Result<(Value, Value), Failure> {
    match client.wire {
        // One process: the client's, which ends when neither holds its input any more.
        BenchWire::Ring => {
            drop(server);
            let last = client.stop()?;
            Ok((last["load"].clone(), last["server"].clone()))
        }
        // Nobody reads the client's end of the wire any more, so that it may be
        // unmapped when the server goes; not the other way round.
        BenchWire::Memif => {
            let served = server.stop()?;
            Ok((client.stop()?, served))
        }
        // The client's driver takes leave of the server's, which is careful; on
        // af_packet neither end has anything of the other's.
        BenchWire::Vhost | BenchWire::AfPacket => {
            let said = client.stop()?;
            Ok((said, server.stop()?))
        }
    }
}

/// What an end is to do: the words of its command line, and keys of its configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Role {
    words: Vec<String>,
    settings: Vec<(&'static str, String)>,
}

impl Role {
    /// A role by its words, as they would be typed.
    pub(super) fn new(words: &str) -> Self {
        Self {
            words: words.split_whitespace().map(str::to_owned).collect(),
            settings: Vec::new(),
        }
    }

    /// More words behind those.
    pub(super) fn words(mut self, words: &str) -> Self {
        self.words.extend(words.split_whitespace().map(str::to_owned));
        self
    }

    /// Sets a key of the configuration.
    pub(super) fn set(mut self, key: &'static str, value: impl ToString) -> Self {
        self.settings.push((key, value.to_string()));
        self
    }
}

/// One end that runs.
pub(super) struct End {
    name: &'static str,
    /// On a ring both ends have the same one.
    child: Arc<Mutex<Child>>,
    /// Gone when it was asked to end.
    commands: Option<Arc<Mutex<ChildStdin>>>,
    lines: Receiver<String>,
    interrupted: Interrupted,
    wire: BenchWire,
}

impl End {
    /// Starts what takes commands on its standard input and says how far it is.
    pub(super) fn spawn(
        name: &'static str,
        mut command: Command,
        wire: BenchWire,
        interrupted: &Interrupted,
        answers: Option<Sender<String>>,
    ) -> Result<Self, Failure> {
        use std::os::unix::process::CommandExt;
        // Not of the terminal's group: after Ctrl-C it is this program that ends them.
        command.process_group(0);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| Failure::run(format!("the {name} can't be started: {e}")))?;
        let commands = child.stdin.take();
        let (heard, lines) = mpsc::channel();
        if let Some(out) = child.stdout.take() {
            thread::Builder::new()
                .name(name.into())
                .spawn(move || {
                    for line in BufReader::new(out).lines().map_while(Result::ok) {
                        let to = match &answers {
                            Some(answers) if line.contains("\"answer\":\"stats\"") => answers,
                            _ => &heard,
                        };
                        // Whoever listened to one of both may be gone.
                        let _ = to.send(line);
                    }
                })
                .map_err(|e| Failure::run(format!("no thread: {e}")))?;
        }
        Ok(Self {
            name,
            child: Arc::new(Mutex::new(child)),
            commands: commands.map(|pipe| Arc::new(Mutex::new(pipe))),
            lines,
            interrupted: interrupted.clone(),
            wire,
        })
    }

    /// Waits for the line that says that it takes commands.
    pub(super) fn wait_until_up(&mut self, limit: Duration) -> Result<(), Failure> {
        match self.hear(limit)? {
            Some(line) if line["phase"] == "ready" => Ok(()),
            Some(line) => Err(Failure::run(format!("the {} said {line} first", self.name))),
            None => Err(Failure::run(format!("the {} did not come up", self.name))),
        }
    }

    /// Waits until it is up, as long as a large table may take.
    pub(super) fn up(mut self) -> Result<Self, Failure> {
        self.wait_until_up(START_LIMIT)?;
        Ok(self)
    }

    /// Gives it a command.
    pub(super) fn say(&mut self, command: &str) -> Result<(), Failure> {
        let said = self
            .commands
            .as_ref()
            .map(|pipe| writeln!(locked(pipe), "{command}"));
        match said {
            Some(Ok(())) => Ok(()),
            _ => Err(self.gone()),
        }
    }

    /// What it says next; none if it says nothing within `limit`.
    pub(super) fn hear(&mut self, limit: Duration) -> Result<Option<Value>, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            if self.interrupted.asked() {
                return Err(Failure::run("interrupted"));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left.min(LOOK)) {
                Ok(line) => {
                    return serde_json::from_str(&line)
                        .map(Some)
                        .map_err(|_| Failure::run(format!("the {} said: {line}", self.name)));
                }
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.gone()),
            }
        }
    }

    /// The figures that it has counted so far.
    pub(super) fn stats(&mut self) -> Result<Value, Failure> {
        self.say("stats")?;
        self.hear(STOP_LIMIT)?
            .ok_or_else(|| Failure::run(format!("the {} does not answer", self.name)))
    }

    /// Bytes of memory that it takes from the system; not known of one end of a ring.
    pub(super) fn memory(&self) -> Result<Option<u64>, Failure> {
        if self.wire == BenchWire::Ring {
            return Ok(None);
        }
        memory_of(locked(&self.child).id()).map(Some)
    }

    /// Waits until it polls no more.
    pub(super) fn wait_until_stopped(&mut self, limit: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        loop {
            match self.hear(deadline.saturating_duration_since(Instant::now()))? {
                Some(line) if line["phase"] == "stopped" => return Ok(()),
                Some(_) => {}
                None => return Err(Failure::run(format!("the {} does not end", self.name))),
            }
        }
    }

    /// Asks it to end, waits until it has, and gives the last that it said.
    pub(super) fn stop(mut self) -> Result<Value, Failure> {
        self.commands = None;
        let mut last = Value::Null;
        while let Ok(line) = self.lines.recv_timeout(STOP_LIMIT) {
            last = serde_json::from_str(&line).unwrap_or(Value::Null);
        }
        self.end(Instant::now() + STOP_LIMIT)?;
        Ok(last)
    }

    fn end(&mut self, deadline: Instant) -> Result<(), Failure> {
        loop {
            let waited = locked(&self.child).try_wait();
            match waited {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(_)) | Err(_) => return Err(self.gone()),
                Ok(None) if Instant::now() >= deadline => {
                    return Err(Failure::run(format!("the {} does not end", self.name)));
                }
                Ok(None) => clock::rest(Duration::from_millis(10)),
            }
        }
    }

    /// Why nothing is heard of it any more.
    fn gone(&mut self) -> Failure {
        let waited = locked(&self.child).wait();
        let how = match waited {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        Failure::run(format!(
            "the {} ended before its time ({how}); why, it has said above",
            self.name
        ))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.commands = None;
        // The other end has it too, and ends it.
        if Arc::strong_count(&self.child) > 1 {
            return;
        }
        if self.end(Instant::now() + STOP_LIMIT).is_err() {
            let mut child = locked(&self.child);
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder for sockets and configurations, removed when dropped.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Result<Self, Failure> {
        let above = std::env::temp_dir();
        remove_stale(&above);
        let path = above.join(format!("{FOLDER}{}", process::id()));
        fs::create_dir(&path).map_err(|e| Failure::run(format!("{}: {e}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes the folders of benchmarks that were killed before they could.
fn remove_stale(above: &Path) {
    let Ok(entries) = fs::read_dir(above) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(FOLDER)?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
