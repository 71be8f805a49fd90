//! What a script's options and first commands make of the host that it runs on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ast::{Action, Call, Expr, Micros, OptionLine, Script};
use super::sysctl;
use crate::posix::{Endpoints, Knobs};

/// The tolerance of packetdrill, in microseconds.
const TOLERANCE: Micros = 4_000;
/// The port of a `bind` and of a `connect` that name none.
const PORT: u16 = 8080;
/// FreeBSD's receive buffer and window scale, which the scripts of its suite expect.
const FREEBSD: &[(&str, &str)] = &[
    ("syn_option_order", "\"freebsd\""),
    ("rcvbuf", "65536"),
    ("window_scale", "6"),
];

/// The family of a script's sockets and of its packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    V4,
    V6,
    /// IPv6 sockets, IPv4 packets.
    Mapped,
}

/// All of it.
pub(super) struct Settings {
    pub(super) family: Family,
    pub(super) tolerance: Micros,
    pub(super) local: IpAddr,
    pub(super) remote: IpAddr,
    pub(super) gateway: IpAddr,
    pub(super) bind_port: u16,
    pub(super) connect_port: u16,
    /// Microseconds of a timestamp's tick; 0 leaves timestamps unchecked.
    pub(super) tick: Micros,
    /// Whether a packet that nobody expected is a failure at the end, too.
    pub(super) strict: bool,
    /// Words of the script and what stands for them.
    pub(super) defines: Vec<(String, String)>,
    pub(super) knobs: Knobs,
    /// What a reader of the verdict should know.
    pub(super) notes: Vec<String>,
    /// Knobs, as lines of TOML; the last one of a name counts.
    lines: Vec<(String, String)>,
}

impl Settings {
    /// Reads them from a script. Commands count as far as they stand before the
    /// first socket is made.
    pub(super) fn of(script: &Script) -> Result<Self, String> {
        let mut settings = Self {
            family: Family::V4,
            tolerance: TOLERANCE,
            local: Ipv4Addr::new(192, 168, 0, 1).into(),
            remote: Ipv4Addr::new(192, 0, 2, 1).into(),
            gateway: Ipv4Addr::new(192, 168, 0, 2).into(),
            bind_port: PORT,
            connect_port: PORT,
            tick: 0,
            strict: false,
            defines: Vec::new(),
            knobs: Knobs::default(),
            notes: Vec::new(),
            lines: Vec::new(),
        };
        let version = script.options.iter().find(|option| option.name == "ip_version");
        settings.set_family(version.and_then(|option| option.value.as_deref()))?;
        for option in &script.options {
            settings.take_option(option)?;
        }
        settings.take_commands(script);
        let text = render(&settings.lines);
        settings.knobs = Knobs::from_toml(&text).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    pub(super) fn endpoints(&self) -> Endpoints {
        Endpoints {
            local: self.local,
            gateway: Some(self.gateway),
        }
    }

    fn set_family(&mut self, version: Option<&str>) -> Result<(), String> {
        self.family = match version {
            None | Some("ipv4") => Family::V4,
            Some("ipv6") => Family::V6,
            Some("ipv4-mapped-ipv6") => Family::Mapped,
            Some(other) => return Err(format!("--ip_version={other}: there is no such version")),
        };
        if self.family == Family::V6 {
            self.local = Ipv6Addr::new(0xfd3d, 0x0a0b, 0x17d6, 0, 0, 0, 0, 1).into();
            self.gateway = Ipv6Addr::new(0xfd3d, 0x0a0b, 0x17d6, 0, 0, 0, 0, 2).into();
            self.remote = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into();
        }
        Ok(())
    }

    fn take_option(&mut self, option: &OptionLine) -> Result<(), String> {
        let value = option.value.as_deref().unwrap_or_default();
        let bad = || format!("--{}={value}: no value for this option", option.name);
        let number = || value.parse::<u32>().map_err(|_| bad());
        let address = || value.parse::<IpAddr>().map_err(|_| bad());
        match option.name.as_str() {
            "ip_version" => {}
            "tolerance_usecs" => self.tolerance = number()?.into(),
            "tcp_ts_tick_usecs" => self.tick = number()?.into(),
            "local_ip" | "local_ipv4" => self.local = address()?,
            "remote_ip" | "remote_ipv4" => self.remote = address()?,
            "gateway_ip" | "gateway_ipv4" => self.gateway = address()?,
            "bind_port" => self.bind_port = value.parse().map_err(|_| bad())?,
            "connect_port" => self.connect_port = value.parse().map_err(|_| bad())?,
            "mtu" => self.lines.push(("mtu".to_owned(), number()?.to_string())),
            "strict" => self.strict = true,
            "define" => match value.split_once('=') {
                Some((name, value)) => self.defines.push((name.to_owned(), value.to_owned())),
                None => return Err(bad()),
            },
            name => match name.strip_prefix("knob_") {
                Some(knob) => self.set_knob(knob, value)?,
                None if IGNORED.contains(&name) => {}
                None => self.notes.push(format!("passed over: --{name}")),
            },
        }
        Ok(())
    }

    /// A knob by its own name: text is quoted, numbers and flags are not.
    fn set_knob(&mut self, knob: &str, value: &str) -> Result<(), String> {
        let bare = value == "true" || value == "false" || value.parse::<u64>().is_ok();
        let value = if bare {
            value.to_owned()
        } else {
            format!("\"{value}\"")
        };
        if self.try_knob(knob, &value) {
            return Ok(());
        }
        let error = Knobs::from_toml(&format!("{knob} = {value}"));
        Err(match error {
            Err(error) => error.to_string(),
            Ok(_) => format!("knob {knob} = {value} does not go with the others"),
        })
    }

    /// Takes a knob over if there is one of this name that takes this value.
    fn try_knob(&mut self, knob: &str, value: &str) -> bool {
        let before = self.lines.len();
        self.lines.push((knob.to_owned(), value.to_owned()));
        if Knobs::from_toml(&render(&self.lines)).is_ok() {
            return true;
        }
        self.lines.truncate(before);
        false
    }

    fn take_commands(&mut self, script: &Script) {
        let first_socket = script
            .events
            .iter()
            .position(|event| matches!(&event.action, Action::Call(call) if call.name == "socket"))
            .unwrap_or(script.events.len());
        let last_packet = script
            .events
            .iter()
            .rposition(|event| !matches!(event.action, Action::Command(_)))
            .unwrap_or_default();
        let mut sysctls = Vec::new();
        for (at, event) in script.events.iter().enumerate() {
            let Action::Command(command) = &event.action else {
                continue;
            };
            let wishes = sysctl::wishes(command);
            self.notes
                .extend(wishes.ignored.iter().map(|line| format!("passed over: `{line}`")));
            if at > first_socket {
                // What comes at the end puts the machine right again.
                if at < last_packet {
                    let late = wishes
                        .settings
                        .iter()
                        .map(|(_, from)| from)
                        .chain(&wishes.unmapped);
                    self.notes
                        .extend(late.map(|from| format!("ran without a later sysctl {from}")));
                }
                continue;
            }
            if wishes.freebsd && sysctls.is_empty() {
                for (knob, value) in FREEBSD {
                    self.try_knob(knob, value);
                }
            }
            sysctls.push(());
            for ((knob, value), from) in wishes.settings {
                if !self.try_knob(knob, &value) {
                    self.notes.push(format!("ran with unmapped sysctl {from}"));
                }
            }
            self.notes.extend(
                wishes
                    .unmapped
                    .iter()
                    .map(|from| format!("ran with unmapped sysctl {from}")),
            );
        }
    }

    /// The call with the script's own words replaced.
    pub(super) fn defined(&self, call: &Call) -> Call {
        let mut call = call.clone();
        if !self.defines.is_empty() {
            call.arguments
                .iter_mut()
                .for_each(|argument| self.replace(argument));
        }
        call
    }

    fn replace(&self, expr: &mut Expr) {
        match expr {
            Expr::Word(word) => {
                let Some((_, value)) = self.defines.iter().find(|(name, _)| name == word) else {
                    return;
                };
                *expr = match (value.strip_prefix('"'), value.parse::<i64>()) {
                    (Some(text), _) => Expr::Text(text.trim_end_matches('"').into(), false),
                    (None, Ok(number)) => Expr::Int(number),
                    (None, Err(_)) => Expr::Word(value.clone()),
                };
            }
            Expr::Or(left, right) => {
                self.replace(left);
                self.replace(right);
            }
            Expr::List(values) | Expr::Apply(_, values) => {
                values.iter_mut().for_each(|value| self.replace(value))
            }
            Expr::Struct(fields) => fields.iter_mut().for_each(|field| self.replace(&mut field.value)),
            Expr::Assign(_, value) => self.replace(value),
            Expr::Ellipsis | Expr::Int(_) | Expr::Text(..) | Expr::Address(_) => {}
        }
    }
}

/// Options that say how the original reaches a machine, or what it prints.
const IGNORED: &[&str] = &[
    "so_filename",
    "so_flags",
    "netmask_ip",
    "netmask_ipv4",
    "speed",
    "init_scripts",
    "wire_protocol",
    "wire_client",
    "wire_server",
    "wire_server_at",
    "wire_server_ip",
    "wire_server_port",
    "wire_client_dev",
    "wire_server_dev",
    "verbose",
    "debug",
    "dry_run",
    "no_cleanup",
    "persistent_tun_dev",
    "code_command",
    "code_format",
    "code_sockopt",
    "send_omit_free",
    "tolerance_percent",
];

/// Lines of TOML, of each name the last.
fn render(lines: &[(String, String)]) -> String {
    let mut text = String::new();
    for (at, (name, value)) in lines.iter().enumerate() {
        if !lines[at + 1..].iter().any(|(later, _)| later == name) {
            text.push_str(&format!("{name} = {value}\n"));
        }
    }
    text
}
