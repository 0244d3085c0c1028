/* The TLS implementation of struct io: OpenSSL on a non-blocking socket.  Above it nothing changes; what only it knows
 * (who the peer is, why a handshake failed) is asked for here, and every question may be put to any stream. */
#ifndef PROXY_IO_TLS_H
#define PROXY_IO_TLS_H

#include "proxy/io.h"
#include "proxy/tls.h"

/* Takes fd over.  Hands are shaken as bytes come; until then nothing can be read. */
int io_open_tls(struct io *io, struct io_loop *loop, int fd, struct ssl_ctx_st *ctx,
                const struct io_handler *handler) MUST_CHECK;
/* As io_connect; it is connected once hands are shaken and the peer is the one that was meant.  Without a context in
 * target it is io_connect. */
int io_connect_tls(struct io *io, struct io_loop *loop, const struct addr *to, const struct tls_target *target,
                   const struct io_handler *handler) MUST_CHECK;

/* Made with this context (NULL: plain). */
bool io_is_made_with(const struct io *io, const struct ssl_ctx_st *ctx);
/* The site that the peer's certificate names; empty: none, or plain. */
struct span io_peer_site(const struct io *io);
/* Whether the peer would be accepted by this context, which may be newer than the one that accepted it, at this time
 * (wall clock); why not, else NULL.  What was found is remembered: asking again costs nothing. */
const char *io_peer_refusal(struct io *io, struct ssl_ctx_st *ctx, int64_t now_ms);
/* Something may wait to be read that the handler has not been told of yet: its event is in the batch at hand, or bytes
 * are left inside. */
bool io_has_news(const struct io *io);
/* The handshake failed, on our side or by the peer's word, even if that came late (RFC 8446 4.4.2.4): nothing that was
 * sent on this stream was looked at. */
bool io_is_refused(const struct io *io);
/* Why a handshake failed or a stream broke; NULL: not by TLS. */
const char *io_tls_why(const struct io *io);

#endif
