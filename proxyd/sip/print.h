// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Messages on their way out, written into a struct buf. A message is begun by one of the first
 * functions, continued by sip_put_field() and ended by sip_put_body().
 */
#include "common/buf.h"
#include "proxyd/sip/msg.h"

/* "OK", "Not Found", ...: RFC 3261, 21, and those of the extensions that we speak. */
const char *sip_reason(unsigned code);

/* Status line and what a response copies from its request: Via (with received and rport, RFC 3581),
 * From, To, Call-ID, CSeq. reason: NULL for the usual one. to_tag: for a To that has none; may be
 * empty. */
void sip_put_response(struct buf *out, const struct sip_msg *request, unsigned code,
                      const char *reason, struct str to_tag);

/* "METHOD uri SIP/2.0". */
void sip_put_request_line(struct buf *out, enum sip_method method, struct str uri);

void sip_put_field(struct buf *out, enum sip_header_id id, struct str value);
void sip_put_number(struct buf *out, enum sip_header_id id, uint64_t value);

/* "Via: SIP/2.0/UDP host:port;branch=..." of ours, asking for rport. */
void sip_put_via(struct buf *out, enum sip_transport transport, const struct sip_address *self,
                 struct str branch);

/* Content-Type (unless the body is empty), Content-Length, the empty line and the body. */
void sip_put_body(struct buf *out, struct str content_type, struct str body);

/* A request that is passed on (RFC 3261, 16.6): request line, our Via, the Vias that it has, and
 * its other headers; Max-Forwards one less; without Route, Authorization and P-Asserted-Identity.
 * The caller adds what is new and then sip_put_body_of(). */
void sip_put_forwarded(struct buf *out, const struct sip_msg *request, enum sip_transport transport,
                       const struct sip_address *self, struct str branch);
/* A response that is passed back (16.7): all of it but the topmost Via. The caller ends it. */
void sip_put_passed_back(struct buf *out, const struct sip_msg *response);
/* Content-Length, the empty line and the body of `m`; its Content-Type was copied before. */
void sip_put_body_of(struct buf *out, const struct sip_msg *m);

/* "UDP", "TCP" or "TLS", as in Via. */
const char *sip_transport_name(enum sip_transport transport);

/* Date of RFC 3261, 20.17: "Sat, 13 Nov 2010 23:29:00 GMT". */
void sip_put_date(struct buf *out, uint64_t unix_ms);

/* Where a response goes (RFC 3261, 18.2.2; RFC 3581). */
struct sip_flow sip_response_flow(const struct sip_msg *request);
