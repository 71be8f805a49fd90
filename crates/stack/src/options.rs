//! What an application may choose for a listener or a connection of its own.
//!
//! Read first: [`crore_tcp::Options`], `profiles.rs`.

use core::net::{IpAddr, SocketAddr};

use crore_base::Instant;
use crore_tcp::{Options, TcpOption};

use crate::{ConnId, ConnectError, ListenError, ListenerId, OptionError, Stack};

/// How to listen.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// Handshakes that are remembered at once.
    pub backlog: u32,
    /// What the connections are to have that come of it; `None`: the stack's own
    /// options.
    pub tcp: Option<Options>,
}

impl ListenOptions {
    /// With the stack's own options.
    pub const fn with_backlog(backlog: u32) -> Self {
        Self { backlog, tcp: None }
    }
}

/// How to connect. The default is from the address that fits best, any port, with
/// the stack's own options.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectOptions {
    /// From just this address.
    pub local: Option<IpAddr>,
    /// From just this port.
    pub local_port: Option<u16>,
    /// With these options.
    pub tcp: Option<Options>,
    /// The server is known to take data with a SYN without a cookie (where client and
    /// server trust all of the network between them): [`Stack::connect_with_data`]
    /// sends it so.
    pub without_cookie: bool,
}

impl Stack {
    /// The options of a listener or a connection that has chosen none: those of
    /// [`crate::StackConfig::tcp`], to be changed and given to [`Self::listen_with`],
    /// [`Self::connect_with`] or [`Self::set_options`].
    pub fn default_options(&self) -> Options {
        Options::of(self.tcp.base())
    }

    /// As [`Self::listen`], with more to choose.
    pub fn listen_with(&mut self, addr: SocketAddr, how: &ListenOptions) -> Result<ListenerId, ListenError> {
        if !addr.ip().is_unspecified() && !self.routes.is_ours(addr.ip()) {
            return Err(ListenError::NotOurAddress);
        }
        let options = how.tcp.unwrap_or(self.default_options());
        let profile = self
            .tcp
            .find_or_make(options)
            .ok_or(ListenError::TooManyOptions)?;
        let fast_open_max = if self.config.fast_open.is_server() {
            self.config.fast_open_queue
        } else {
            0
        };
        let id = self.listeners.add(addr, how.backlog, profile, fast_open_max)?;
        self.tcp.hold(profile);
        self.sweep.serve(&options);
        Ok(id)
    }

    /// What connections will have that a listener gets; none if there is no such listener.
    pub fn listener_options(&self, listener: ListenerId) -> Option<Options> {
        let profile = self.listeners.profile(listener)?;
        Some(Options::of(self.tcp.get(profile)))
    }

    /// Changes what connections will have that a listener gets from now on;
    /// those that it has got keep what they have.
    ///
    /// # Errors
    /// As [`Self::set_option`].
    pub fn set_listener_options(
        &mut self,
        listener: ListenerId,
        options: Options,
    ) -> Result<(), OptionError> {
        let old = self.listeners.profile(listener).ok_or(OptionError::Gone)?;
        let new = self.tcp.find_or_make(options).ok_or(OptionError::TooMany)?;
        self.listeners.set_profile(listener, new);
        self.tcp.hold(new);
        self.tcp.release(old);
        self.sweep.serve(&options);
        Ok(())
    }

    /// As [`Self::connect`] and [`Self::connect_from`], with more to choose.
    pub fn connect_with(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        how: &ConnectOptions,
    ) -> Result<ConnId, ConnectError> {
        let options = how.tcp.unwrap_or(self.default_options());
        let profile = self
            .tcp
            .find_or_make(options)
            .ok_or(ConnectError::TooManyOptions)?;
        self.sweep.serve(&options);
        let local = self.check_destination(how.local, remote)?;
        match how.local_port {
            None => self.connect_from_any_port(now, local, remote, profile),
            Some(port) => self.connect_from_port(now, SocketAddr::new(local, port), remote, profile),
        }
    }

    /// What a connection has.
    pub fn options(&self, conn: ConnId) -> Option<Options> {
        let record = self.slots.by_id(conn)?;
        let nodelay = match record.parked() {
            Some(parked) => parked.has_nodelay(),
            None => self.slots.active_by_id(conn)?.conn.nodelay(),
        };
        let mut options = Options::of(self.tcp.of(conn.slot));
        options.nodelay = nodelay;
        Some(options)
    }

    /// Changes one option of a connection.
    ///
    /// # Errors
    /// [`OptionError::Gone`] if the handle is stale; [`OptionError::TooMany`]
    /// if as many different sets of options are in use as can be.
    pub fn set_option(&mut self, conn: ConnId, option: TcpOption) -> Result<(), OptionError> {
        let mut options = self.options(conn).ok_or(OptionError::Gone)?;
        options.set(option);
        self.set_options(conn, options)
    }

    /// Changes a connection's options, all of them. They count from now on, also
    /// while it is parked; what its handshake has settled stays (the scale of its
    /// window), a segment size can only sink, and what the peer was allowed to
    /// send it may send.
    ///
    /// # Errors
    /// As [`Self::set_option`].
    pub fn set_options(&mut self, conn: ConnId, options: Options) -> Result<(), OptionError> {
        let slot = conn.slot;
        self.slots.by_id(conn).ok_or(OptionError::Gone)?;
        // Where small writes go is a bit of the connection's own, that many set.
        let mut shared = options;
        shared.nodelay = self.tcp.of(slot).nodelay;
        let profile = self.tcp.find_or_make(shared).ok_or(OptionError::TooMany)?;
        self.set_nodelay(conn, options.nodelay);
        if profile == self.tcp.id_of(slot) {
            return Ok(());
        }
        self.tcp.assign(slot, profile);
        self.sweep.serve(&options);
        if let Some(index) = self.slots.active_index(slot)
            && let Some(active) = self.slots.pool.get_mut(index)
        {
            active.conn.configure(self.tcp.get(profile).clone());
            self.touch(index);
        }
        Ok(())
    }
}
