#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_prefetch.h>

#include "shim.h"

uint16_t
crore_rx_frames(uint16_t port, uint16_t queue, struct crore_frame *out, uint16_t n)
{
	struct rte_mbuf *mbufs[64];
	uint16_t got, i;

	if (n > 64)
		n = 64;
	got = rte_eth_rx_burst(port, queue, mbufs, n);
	for (i = 0; i < got; i++)
		rte_prefetch0(rte_pktmbuf_mtod(mbufs[i], void *));
	for (i = 0; i < got; i++) {
		struct rte_mbuf *m = mbufs[i];

		out[i].mbuf = m;
		out[i].data = rte_pktmbuf_mtod(m, const uint8_t *);
		out[i].ol_flags = m->ol_flags;
		out[i].len = m->pkt_len;
		out[i].buf_len = m->buf_len;
		out[i].nb_segs = m->nb_segs;
	}
	return got;
}

uint16_t
crore_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, mbufs, n);
}

uint16_t
crore_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, mbufs, n);
}

int
crore_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int n)
{
	return rte_pktmbuf_alloc_bulk(pool, mbufs, n);
}

void
crore_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

void
crore_retain(struct rte_mbuf *mbuf)
{
	/* A count that wraps would free the buffer under its holders. */
	if (rte_mbuf_refcnt_read(mbuf) == UINT16_MAX)
		abort();
	rte_mbuf_refcnt_update(mbuf, 1);
}

void
crore_append(struct rte_mbuf *head, struct rte_mbuf *last, struct rte_mbuf *next, uint16_t len)
{
	next->data_len = len;
	last->next = next;
	head->nb_segs++;
	head->pkt_len += len;
}

unsigned int
crore_ring_drain(struct rte_ring *ring)
{
	unsigned int drained = 0;
	void *mbuf;

	while (rte_ring_dequeue(ring, &mbuf) == 0) {
		rte_pktmbuf_free(mbuf);
		drained++;
	}
	return drained;
}

int
crore_errno(void)
{
	return rte_errno;
}

int
crore_has_lcore(void)
{
	return rte_lcore_id() != LCORE_ID_ANY;
}

static ssize_t
log_write(void *cookie, const char *text, size_t len)
{
	crore_log_sink sink = (crore_log_sink)(uintptr_t)cookie;
	int level = rte_log_cur_msg_loglevel();

	sink(level < 0 ? RTE_LOG_INFO : (uint32_t)level, text, len);
	return (ssize_t)len;
}

int
crore_log_to(crore_log_sink sink)
{
	static const cookie_io_functions_t functions = { .write = log_write };
	FILE *stream = fopencookie((void *)(uintptr_t)sink, "w", functions);

	if (stream == NULL)
		return -1;
	return rte_openlog_stream(stream);
}
