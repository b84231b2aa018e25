// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Namespaces of XMPP that the router knows.
 */
#define NS_CLIENT      "jabber:client"
#define NS_STREAM      "http://etherx.jabber.org/streams"
#define NS_STREAMS     "urn:ietf:params:xml:ns:xmpp-streams"
#define NS_STANZAS     "urn:ietf:params:xml:ns:xmpp-stanzas"
#define NS_TLS         "urn:ietf:params:xml:ns:xmpp-tls"
#define NS_SASL        "urn:ietf:params:xml:ns:xmpp-sasl"
#define NS_SASL_CB     "urn:xmpp:sasl-cb:0"
#define NS_BIND        "urn:ietf:params:xml:ns:xmpp-bind"
#define NS_SESSION     "urn:ietf:params:xml:ns:xmpp-session"
#define NS_SM          "urn:xmpp:sm:3"
#define NS_ROSTER      "jabber:iq:roster"
#define NS_PREAPPROVAL "urn:xmpp:features:pre-approval"
#define NS_DISCO_INFO  "http://jabber.org/protocol/disco#info"
#define NS_DISCO_ITEMS "http://jabber.org/protocol/disco#items"
#define NS_PING        "urn:xmpp:ping"
#define NS_DELAY       "urn:xmpp:delay"
#define NS_STANZA_ID   "urn:xmpp:sid:0"
#define NS_CHATSTATES  "http://jabber.org/protocol/chatstates"
#define NS_OFFLINE     "msgoffline"
