//! TCP options: read leniently, written in one layout, read the same again.

use core::net::{IpAddr, Ipv4Addr};

use crore_base::{MacAddr, RxChecksum};
use crore_wire::{IpEmit, Link, Packet, Segment, TcpOptions, TxChecksum, emit_tcp, parse, tcp_headers_len};

/// The target.
pub fn run(data: &[u8]) {
    let options = TcpOptions::parse(data);
    let len = options.encoded_len();
    assert!(len <= 40 && len.is_multiple_of(4), "{len} bytes of options");
    let segment = Segment {
        options,
        ..Segment::default()
    };
    let ip = IpEmit {
        src: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        dst: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
        hop_limit: 64,
        ecn: 0,
        ident: 0,
    };
    let link = Link {
        src: MacAddr([2; 6]),
        dst: MacAddr([4; 6]),
    };
    let mut frame = vec![0; tcp_headers_len(&ip, &segment)];
    emit_tcp(&mut frame, &link, &ip, &segment, 0, TxChecksum::Software);
    let Ok(Packet::Tcp { segment: again, .. }) = parse(&frame, RxChecksum::Unknown).map(|f| f.packet) else {
        panic!("a written segment is no TCP");
    };
    let mut again = again.options;
    assert!(
        again.sack.iter().eq(options.sack.iter().take(again.sack.len())),
        "the first SACK blocks"
    );
    again.sack = options.sack;
    if options
        .accurate_ecn
        .is_some_and(|o| o.encoded_len() > options.spare_len())
    {
        assert_eq!(again.accurate_ecn, None, "there is no room for accurate ECN");
        again.accurate_ecn = options.accurate_ecn;
    }
    assert_eq!(again, options, "all but what has no room comes through");
    // The header can carry no more than 40 bytes, by whichever way they came.
    if data.len() <= 40 && data.len().is_multiple_of(4) {
        read_in_place(&frame[..54], data, &options);
    }
}

/// The same options in a frame read the same as alone (the short cut for
/// timestamps is taken there).
fn read_in_place(headers: &[u8], options: &[u8], wanted: &TcpOptions) {
    let mut frame = [headers, options].concat();
    frame[17] = (40 + options.len()) as u8;
    frame[46] = ((20 + options.len()) as u8 / 4) << 4;
    match parse(&frame, RxChecksum::Good).map(|f| f.packet) {
        Ok(Packet::Tcp { segment, .. }) => assert_eq!(segment.options, *wanted, "in place as alone"),
        other => panic!("options make no difference to TCP, but: {other:?}"),
    }
}
