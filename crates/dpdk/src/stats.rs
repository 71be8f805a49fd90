//! What a port counts.

use core::ffi::{CStr, c_char};

use crate::error::{Error, errno_text};

/// The counters that every driver has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortStats {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames lost because nobody had taken earlier ones from the queue.
    pub rx_missed: u64,
    /// Frames received broken.
    pub rx_errors: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
    /// Times that no buffer was left to receive into.
    pub rx_no_buffer: u64,
}

/// A counter of the driver's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XStat {
    /// Its name, as the driver gives it.
    pub name: String,
    /// Its value.
    pub value: u64,
}

pub(crate) fn stats(id: u16) -> Result<PortStats, Error> {
    let mut raw = dpdk_sys::rte_eth_stats::default();
    // SAFETY: takes any id and a live structure.
    match unsafe { dpdk_sys::rte_eth_stats_get(id, &mut raw) } {
        0 => Ok(PortStats {
            rx_frames: raw.ipackets,
            rx_bytes: raw.ibytes,
            tx_frames: raw.opackets,
            tx_bytes: raw.obytes,
            rx_missed: raw.imissed,
            rx_errors: raw.ierrors,
            tx_errors: raw.oerrors,
            rx_no_buffer: raw.rx_nombuf,
        }),
        errno => Err(failed("rte_eth_stats_get", errno)),
    }
}

pub(crate) fn xstats(id: u16) -> Result<Vec<XStat>, Error> {
    // SAFETY: with no room asked for, the number of counters is returned.
    let count = unsafe { dpdk_sys::rte_eth_xstats_get_names(id, core::ptr::null_mut(), 0) };
    let count = u32::try_from(count).map_err(|_| failed("rte_eth_xstats_get_names", count))?;
    let blank_name = dpdk_sys::rte_eth_xstat_name {
        name: [0; dpdk_sys::RTE_ETH_XSTATS_NAME_SIZE as usize],
    };
    let mut names = vec![blank_name; count as usize];
    let mut values = vec![dpdk_sys::rte_eth_xstat { id: 0, value: 0 }; count as usize];
    // SAFETY: room for `count` entries, as said.
    let got = unsafe { dpdk_sys::rte_eth_xstats_get_names(id, names.as_mut_ptr(), count) };
    if got != count as i32 {
        return Err(failed("rte_eth_xstats_get_names", got));
    }
    // SAFETY: room for `count` entries, as said.
    let got = unsafe { dpdk_sys::rte_eth_xstats_get(id, values.as_mut_ptr(), count) };
    let got = u32::try_from(got).map_err(|_| failed("rte_eth_xstats_get", got))?;
    values.truncate(got.min(count) as usize);
    Ok(values
        .iter()
        .filter_map(|stat| {
            let name = names.get(usize::try_from(stat.id).ok()?)?;
            Some(XStat {
                name: text(&name.name),
                value: stat.value,
            })
        })
        .collect())
}

fn text(name: &[c_char]) -> String {
    let bytes: Vec<u8> = name.iter().map(|c| *c as u8).collect();
    CStr::from_bytes_until_nul(&bytes)
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn failed(call: &'static str, errno: i32) -> Error {
    Error::Call {
        call,
        said: errno_text(errno),
    }
}
