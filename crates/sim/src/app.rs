//! The tasks as an application of Crore's own stack.

use crore_base::Instant;
use crore_netbuf::Chunk;
use crore_shard::Service;
use crore_stack::{ConnId, ConnectOptions, Event, Read, SocketError, Stack};

use crate::task::{Got, Verbs};
use crate::tasks::Tasks;

/// Enough half-open handshakes for every planned connection.
const BACKLOG: u32 = 1024;

/// Connections that came of a copy of a SYN.
const GHOST: u64 = u64::MAX;

/// The tasks of one host, driven by its stack's events.
pub struct App {
    end: crore_nic::sim::End,
    tasks: Tasks,
    /// The connection of each task, while it has one.
    conns: Vec<Option<ConnId>>,
    /// Whether anything was done since [`App::take_progress`].
    progress: bool,
    failure: Option<String>,
}

impl App {
    /// Listens for every connection that the peer is to open.
    pub fn new(end: crore_nic::sim::End, tasks: Tasks, stack: &mut Stack) -> Result<Self, String> {
        for plan in tasks.plans() {
            if !plan.is_opened_by(end) {
                let address = plan.address(end);
                let listener = stack
                    .listen(address, BACKLOG)
                    .map_err(|error| format!("listening on {address}: {error}"))?;
                stack.set_fast_open_without_cookie(listener, plan.end(end).early.without_cookie);
            }
        }
        Ok(Self {
            end,
            conns: vec![None; tasks.plans().len()],
            tasks,
            progress: false,
            failure: None,
        })
    }

    /// The tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Whether anything was done since the last call.
    pub fn take_progress(&mut self) -> bool {
        core::mem::take(&mut self.progress)
    }

    /// The first thing that went wrong.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    fn note(&mut self, result: Result<(), String>) {
        if let Err(what) = result {
            self.failure.get_or_insert(what);
        }
    }

    /// The number of the connection that a listener got, by the port it came to.
    fn planned(&self, stack: &Stack, conn: ConnId) -> Option<usize> {
        let tuple = stack.four_tuple(conn)?;
        let mut plans = self.tasks.plans().iter();
        let plan = plans.find(|plan| plan.address(self.end) == tuple.local())?;
        (plan.address(self.end.other()) == tuple.remote()).then_some(plan.index)
    }

    fn on_opened(&mut self, stack: &mut Stack, now: Instant, conn: ConnId) -> Result<(), String> {
        let index = match stack.user(conn) {
            0 => self
                .planned(stack, conn)
                .ok_or_else(|| format!("{conn:?} was opened, which nobody planned"))?,
            user => user as usize - 1,
        };
        if self.tasks.get(index).was_opened() && stack.is_fast_open_server() {
            // A copy of the SYN, come late, with data that was served before (RFC 7413
            // section 6.1). To this application that is nothing new.
            stack.set_user(conn, GHOST);
            stack.abort(conn);
            return Ok(());
        }
        stack.set_user(conn, index as u64 + 1);
        self.conns[index] = Some(conn);
        self.tasks.get(index).on_opened(now)
    }

    fn open_what_is_due(&mut self, stack: &mut Stack, now: Instant) -> Result<(), String> {
        while let Some(plan) = self.tasks.next_to_open(now) {
            let (local, remote) = (plan.address(self.end), plan.address(self.end.other()));
            let how = ConnectOptions {
                local: Some(local.ip()),
                local_port: Some(local.port()),
                without_cookie: plan.end(self.end).early.without_cookie,
                ..ConnectOptions::default()
            };
            let task = self.tasks.get(plan.index);
            let opened = match task.early() {
                Some(data) => stack
                    .connect_with_data(now, remote, &how, data)
                    .map(|(conn, taken)| {
                        task.on_early(taken);
                        conn
                    }),
                None => stack.connect_with(now, remote, &how),
            };
            let conn = opened.map_err(|error| format!("connecting {local} to {remote}: {error}"))?;
            stack.set_user(conn, plan.index as u64 + 1);
            self.conns[plan.index] = Some(conn);
            self.progress = true;
        }
        Ok(())
    }

    fn pump(&mut self, stack: &mut Stack, now: Instant) -> Result<(), String> {
        for (index, conn) in self.conns.iter_mut().enumerate() {
            let Some(id) = *conn else { continue };
            let task = self.tasks.get(index);
            let mut socket = Socket { stack, conn: id, now };
            self.progress |= task.pump(now, &mut socket)?;
            if task.end().is_some() {
                *conn = None;
            }
        }
        Ok(())
    }
}

impl Service for App {
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        if is_of_ghost(stack, &event) {
            return;
        }
        let result = match event {
            Event::Opened { conn, .. } => self.on_opened(stack, now, conn),
            Event::Readable { conn } => match stack.user(conn) {
                0 => Err(format!("{event:?} before it was opened")),
                user => self.tasks.get(user as usize - 1).on_readable(),
            },
            Event::PeerClosed { conn } => match stack.user(conn) {
                0 => Err(format!("{event:?} before it was opened")),
                user => self.tasks.get(user as usize - 1).on_peer_closed(),
            },
            Event::Writable { conn } => match stack.user(conn) {
                0 => Err(format!("{event:?} before it was opened")),
                user => self.tasks.get(user as usize - 1).on_writable(),
            },
            Event::Idle { .. } | Event::Urgent { .. } => return,
            Event::Closed { reason, user, .. } => match user {
                0 => Err(format!("{event:?} before it was opened")),
                user => {
                    self.conns[user as usize - 1] = None;
                    self.tasks.get(user as usize - 1).on_closed(reason)
                }
            },
        };
        self.note(result);
    }

    fn on_turn(&mut self, stack: &mut Stack, now: Instant) {
        let result = self
            .open_what_is_due(stack, now)
            .and_then(|()| self.pump(stack, now));
        self.note(result);
    }

    fn next_wakeup(&self) -> Option<Instant> {
        self.tasks.next_wakeup()
    }
}

/// Whether an event is about a connection that was given up as nobody's.
fn is_of_ghost(stack: &Stack, event: &Event) -> bool {
    match *event {
        Event::Readable { conn } | Event::PeerClosed { conn } | Event::Writable { conn } => {
            stack.user(conn) == GHOST
        }
        Event::Closed { user, .. } => user == GHOST,
        Event::Opened { .. } | Event::Idle { .. } | Event::Urgent { .. } => false,
    }
}

/// A connection of a stack, as a task sees it.
struct Socket<'a> {
    stack: &'a mut Stack,
    conn: ConnId,
    now: Instant,
}

impl Verbs for Socket<'_> {
    fn write(&mut self, data: &[u8], zero_copy: bool) -> Option<usize> {
        let result = if zero_copy {
            self.stack.write_chunk(self.conn, Chunk::copy_from(data))
        } else {
            self.stack.write(self.conn, data)
        };
        result.ok()
    }

    fn read(&mut self) -> Got {
        match self.stack.read(self.conn) {
            Ok(Read::Data(chunk)) => Got::Data(chunk),
            Ok(Read::WouldBlock) => Got::Nothing,
            Ok(Read::Eof) => Got::Eof,
            Err(SocketError::Gone | SocketError::WriteClosed | SocketError::ReadClosed) => Got::Broken,
        }
    }

    fn shutdown_write(&mut self) {
        self.stack.shutdown_write(self.conn);
    }

    fn close(&mut self) {
        self.stack.close(self.now, self.conn);
    }

    fn abort(&mut self) {
        self.stack.abort(self.conn);
    }
}
