//! A host that runs smoltcp's TCP: somebody else's reading of the RFCs.

use std::cell::Cell;
use std::collections::VecDeque;

use crore_base::{DropCounters, Duration, Instant};
use crore_netbuf::Chunk;
use crore_nic::fault::FaultStats;
use crore_nic::sim::End;
use crore_nic::{Nic, RxFrame, TxMeta};
use crore_tcp::CloseReason;
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use crate::host::{Host, LinkNic, Marks};
use crate::plan::host_address;
use crate::scenario::Weather;
use crate::task::{Got, Verbs};
use crate::tasks::Tasks;

thread_local! {
    /// Milliseconds for smoltcp's timestamps, which it asks of a bare function.
    static MILLIS: Cell<u32> = const { Cell::new(0) };
}

/// What a foreign host's sockets are like.
#[derive(Clone, Debug)]
pub struct ForeignConfig {
    /// Bytes of each receive buffer.
    pub receive_buffer: usize,
    /// Bytes of each send buffer.
    pub send_buffer: usize,
    /// Whether it offers timestamps.
    pub timestamps: bool,
    /// How long it delays acknowledgments.
    pub ack_delay: Option<Duration>,
    /// Nagle's algorithm.
    pub nagle: bool,
    /// Seed of its sequence numbers.
    pub seed: u64,
}

/// A host that runs smoltcp.
pub struct ForeignHost {
    device: FrameDevice,
    interface: Interface,
    sockets: SocketSet<'static>,
    /// By connection.
    handles: Vec<SocketHandle>,
    tasks: Tasks,
    end: End,
}

impl ForeignHost {
    /// A host at `end` that listens for what the peer is to open.
    pub fn new(end: End, nic: LinkNic, config: &ForeignConfig, tasks: Tasks) -> Result<Self, String> {
        let mac = EthernetAddress(nic.capabilities().mac.0);
        let mut device = FrameDevice {
            nic,
            received: VecDeque::new(),
        };
        let mut options = Config::new(HardwareAddress::Ethernet(mac));
        options.random_seed = config.seed;
        let mut interface = Interface::new(options, &mut device, to_smoltcp(Instant::ZERO));
        interface.update_ip_addrs(|addresses| {
            for (ipv6, prefix) in [(false, 24), (true, 64)] {
                let added = addresses.push(IpCidr::new(host_address(end, ipv6).into(), prefix));
                debug_assert!(added.is_ok(), "smoltcp has room for two addresses");
            }
        });
        let mut sockets = SocketSet::new(Vec::new());
        let mut handles = Vec::new();
        for plan in tasks.plans() {
            let mut socket = new_socket(config);
            if !plan.is_opened_by(end) {
                let listening = socket.listen(plan.address(end));
                listening.map_err(|error| format!("smoltcp listen: {error}"))?;
            }
            handles.push(sockets.add(socket));
        }
        Ok(Self {
            device,
            interface,
            sockets,
            handles,
            tasks,
            end,
        })
    }

    fn open_what_is_due(&mut self, now: Instant) -> Result<bool, String> {
        let mut opened = false;
        while let Some(plan) = self.tasks.next_to_open(now) {
            let socket = self.sockets.get_mut::<tcp::Socket>(self.handles[plan.index]);
            let (local, remote) = (plan.address(self.end), plan.address(self.end.other()));
            socket
                .connect(self.interface.context(), remote, local)
                .map_err(|error| format!("smoltcp connect: {error}"))?;
            opened = true;
        }
        Ok(opened)
    }

    /// smoltcp has states instead of events: tell the tasks what they amount to.
    fn pump(&mut self, now: Instant) -> Result<bool, String> {
        let mut progress = false;
        for (index, handle) in self.handles.iter().enumerate() {
            let socket = self.sockets.get_mut::<tcp::Socket>(*handle);
            let task = self.tasks.get(index);
            if task.end().is_some() {
                continue;
            }
            if !task.was_opened() && is_established(socket.state()) {
                task.on_opened(now)?;
                progress = true;
            }
            if task.was_opened() {
                task.on_readable()?;
                if socket.can_send() {
                    task.on_writable()?;
                }
                progress |= task.pump(now, &mut Foreign { socket })?;
            }
            if task.was_opened()
                && task.end().is_none()
                && let Some(reason) = how_it_ended(socket, task.has_finished())
            {
                task.on_closed(reason)?;
                progress = true;
            }
        }
        Ok(progress)
    }
}

fn new_socket(config: &ForeignConfig) -> tcp::Socket<'static> {
    let buffer = |len: usize| tcp::SocketBuffer::new(vec![0; len.max(1)]);
    let mut socket = tcp::Socket::new(buffer(config.receive_buffer), buffer(config.send_buffer));
    socket.set_ack_delay(
        config
            .ack_delay
            .map(|d| smoltcp::time::Duration::from_micros(d.as_micros())),
    );
    socket.set_nagle_enabled(config.nagle);
    if config.timestamps {
        socket.set_tsval_generator(Some(|| MILLIS.get()));
    }
    socket
}

fn is_established(state: tcp::State) -> bool {
    !matches!(
        state,
        tcp::State::Closed | tcp::State::Listen | tcp::State::SynSent | tcp::State::SynReceived
    )
}

/// Why the connection is over, if it is and there is nothing more to read.
fn how_it_ended(socket: &mut tcp::Socket<'_>, finished: bool) -> Option<CloseReason> {
    let state = socket.state();
    if finished && matches!(state, tcp::State::Closed | tcp::State::TimeWait) {
        return Some(CloseReason::Finished);
    }
    let broken =
        state == tcp::State::Closed && socket.peek(1).is_err_and(|e| e == tcp::RecvError::InvalidState);
    broken.then_some(CloseReason::ResetByPeer)
}

fn to_smoltcp(at: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros((at.as_nanos() / 1_000) as i64)
}

impl Host for ForeignHost {
    fn turn(&mut self, now: Instant) -> Result<bool, String> {
        MILLIS.set(now.as_millis() as u32);
        let mut frames = Vec::new();
        let received = self.device.nic.rx_burst(now, &mut frames);
        self.device.received.extend(frames);
        let mut progress = received > 0 || self.open_what_is_due(now)?;
        let at = to_smoltcp(now);
        for _ in 0..2 {
            let changed = self.interface.poll(at, &mut self.device, &mut self.sockets);
            progress |= changed == PollResult::SocketStateChanged;
            progress |= self.pump(now)?;
        }
        self.device.nic.flush(now);
        Ok(progress)
    }

    fn next_wakeup(&mut self, now: Instant) -> Option<Instant> {
        let own = self.interface.poll_at(to_smoltcp(now), &self.sockets);
        let own = own.map(|at| Instant::from_nanos(at.total_micros() as u64 * 1_000));
        [own, self.tasks.next_wakeup(), self.device.nic.next_arrival()]
            .into_iter()
            .flatten()
            .min()
    }

    fn set_weather(&mut self, weather: Weather) {
        self.device.nic.set_weather(weather);
    }

    fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// None: whether smoltcp 0.14 gets out of its closing states when an old
    /// acknowledgment overtakes the last one is not ours to judge. That Crore's
    /// end does is judged there.
    fn connections(&self) -> usize {
        0
    }

    fn drops(&self) -> DropCounters {
        DropCounters::new()
    }

    fn parked(&self) -> (u64, u64) {
        (0, 0)
    }

    fn cookies(&self) -> u64 {
        0
    }

    fn marks(&self) -> Marks {
        Marks::default()
    }

    fn faults(&self) -> (FaultStats, usize) {
        self.device.nic.faults()
    }

    fn broken(&self) -> u64 {
        0
    }

    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A NIC as smoltcp's device.
struct FrameDevice {
    nic: LinkNic,
    received: VecDeque<RxFrame>,
}

impl Device for FrameDevice {
    type RxToken<'a> = Received;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Received, ToSend<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Received(frame.data), ToSend(&mut self.nic)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<ToSend<'_>> {
        // Never none, even with a full NIC: smoltcp 0.14 forgets a fast retransmission
        // (and its timer with it) whose frame the device would not take, and stalls.
        // A frame that does not fit is lost instead.
        Some(ToSend(&mut self.nic))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit =
            crore_wire::ETHERNET_HEADER + usize::from(self.nic.capabilities().mtu);
        capabilities
    }
}

struct Received(Chunk);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct ToSend<'a>(&'a mut LinkNic);

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        // Without a buffer the frame is lost.
        let mut lost = Vec::new();
        let reserved = self.0.reserve(len);
        let sent = reserved.is_some();
        let buffer = reserved.unwrap_or_else(|| {
            lost.resize(len, 0);
            &mut lost
        });
        let result = f(&mut buffer[..len]);
        if sent {
            self.0.commit(len, TxMeta::default());
        }
        result
    }
}

/// A smoltcp socket, as a task sees it.
struct Foreign<'a> {
    socket: &'a mut tcp::Socket<'static>,
}

impl Verbs for Foreign<'_> {
    fn write(&mut self, data: &[u8], _zero_copy: bool) -> Option<usize> {
        self.socket.send_slice(data).ok()
    }

    fn read(&mut self) -> Got {
        let mut buffer = [0; 2048];
        match self.socket.recv_slice(&mut buffer) {
            Ok(0) => Got::Nothing,
            Ok(n) => Got::Data(Chunk::copy_from(&buffer[..n])),
            Err(tcp::RecvError::Finished) => Got::Eof,
            Err(tcp::RecvError::InvalidState) => Got::Broken,
        }
    }

    fn shutdown_write(&mut self) {
        self.socket.close();
    }

    fn close(&mut self) {
        self.socket.close();
    }

    fn abort(&mut self) {
        self.socket.abort();
    }
}
