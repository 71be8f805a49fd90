/*
 * What Rust can't call by itself: DPDK's static inlines, errno in thread-local
 * storage, and a stdio stream for the log. Data-path calls take whole bursts.
 */
#ifndef CRORE_SHIM_H
#define CRORE_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_eth_ring.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <rte_version.h>

/*
 * Where the fields of an mbuf lie, by the compiler's word, so that the bindings
 * need not name the anonymous unions that differ between DPDK releases.
 */
enum crore_mbuf_layout {
	CRORE_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	CRORE_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	CRORE_MBUF_NEXT = offsetof(struct rte_mbuf, next),
	CRORE_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	CRORE_MBUF_REFCNT = offsetof(struct rte_mbuf, refcnt),
	CRORE_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	CRORE_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	CRORE_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	CRORE_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
	CRORE_MBUF_TX_OFFLOAD = offsetof(struct rte_mbuf, tx_offload),
	CRORE_MBUF_HEADROOM = RTE_PKTMBUF_HEADROOM,
	CRORE_MBUF_L3_LEN_SHIFT = RTE_MBUF_L2_LEN_BITS,
	CRORE_MBUF_L4_LEN_SHIFT = RTE_MBUF_L2_LEN_BITS + RTE_MBUF_L3_LEN_BITS,
	CRORE_MBUF_SEGMENT_LEN_SHIFT = RTE_MBUF_L2_LEN_BITS + RTE_MBUF_L3_LEN_BITS +
		RTE_MBUF_L4_LEN_BITS,
};

/* 64-bit masks, which bindgen would not evaluate from macros with casts. */
static const uint64_t CRORE_RX_L4_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t CRORE_RX_L4_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t CRORE_RX_L4_BAD = RTE_MBUF_F_RX_L4_CKSUM_BAD;
static const uint64_t CRORE_RX_L4_NONE = RTE_MBUF_F_RX_L4_CKSUM_NONE;
static const uint64_t CRORE_RX_IP_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t CRORE_RX_IP_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t CRORE_TX_IPV4 = RTE_MBUF_F_TX_IPV4;
static const uint64_t CRORE_TX_IPV6 = RTE_MBUF_F_TX_IPV6;
static const uint64_t CRORE_TX_IP_CKSUM = RTE_MBUF_F_TX_IP_CKSUM;
static const uint64_t CRORE_TX_TCP_CKSUM = RTE_MBUF_F_TX_TCP_CKSUM;
static const uint64_t CRORE_TX_TCP_SEG = RTE_MBUF_F_TX_TCP_SEG;
static const uint64_t CRORE_RX_OFFLOAD_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t CRORE_RX_OFFLOAD_TCP_CKSUM = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t CRORE_RX_OFFLOAD_UDP_CKSUM = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
static const uint64_t CRORE_RX_OFFLOAD_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t CRORE_TX_OFFLOAD_IPV4_CKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t CRORE_TX_OFFLOAD_TCP_CKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t CRORE_TX_OFFLOAD_TCP_TSO = RTE_ETH_TX_OFFLOAD_TCP_TSO;
static const uint64_t CRORE_TX_OFFLOAD_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
static const uint64_t CRORE_RSS_IP = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6;
static const uint64_t CRORE_RSS_TCP = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP;

/* A received frame, read out of its mbuf while the burst is warm. */
struct crore_frame {
	struct rte_mbuf *mbuf;
	const uint8_t *data;
	uint64_t ol_flags;
	uint32_t len;      /* bytes of the whole frame, all segments */
	uint16_t buf_len;  /* bytes of the (first) buffer, headroom included */
	uint16_t nb_segs;
};

/* Takes at most n frames from a queue and describes each; returns how many. */
uint16_t crore_rx_frames(uint16_t port, uint16_t queue, struct crore_frame *out, uint16_t n);
/* rte_eth_rx_burst; n <= 64. */
uint16_t crore_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);
/* rte_eth_tx_burst. */
uint16_t crore_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);
/* rte_pktmbuf_alloc_bulk: all n or none; 0 on success. */
int crore_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int n);
/* rte_pktmbuf_free. */
void crore_free(struct rte_mbuf *mbuf);
/* Adds one reference to a single-segment mbuf; aborts at 65,535 of them. */
void crore_retain(struct rte_mbuf *mbuf);
/* Hangs next, fresh, with len bytes of data, behind last, the last segment of head. */
void crore_append(struct rte_mbuf *head, struct rte_mbuf *last, struct rte_mbuf *next, uint16_t len);
/* Takes everything out of a ring of mbufs and frees it; returns how many. */
unsigned int crore_ring_drain(struct rte_ring *ring);
/* The calling thread's rte_errno. */
int crore_errno(void);
/* Whether the calling thread has an lcore id, and so a mempool cache. */
int crore_has_lcore(void);

/* Gets each log message: DPDK's level (1..8), its bytes (no NUL). */
typedef void (*crore_log_sink)(uint32_t level, const char *text, size_t len);
/* Sends DPDK's log to sink; 0 on success. */
int crore_log_to(crore_log_sink sink);

#endif
