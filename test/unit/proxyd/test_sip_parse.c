// SPDX-License-Identifier: Apache-2.0
/*
 * The SIP parser: what it makes of the messages that RFC 4475 tortures parsers with, and of those
 * that break our limits. Each row is a message, and what is said to it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/mem.h"
#include "common/util.h"
#include "proxyd/sip/print.h"

enum { FINE = 0, DROPPED = -1 };

struct row {
    const char *name;
    int says; /* FINE, DROPPED, or the status of the refusal */
    const char *start_line;
    const char *headers; /* beside the usual ones, or instead of them */
    const char *body;
    const char *without; /* which of the usual ones: letters of "vftich" */
};

static struct sip_msg *parse(struct str text)
{
    struct sip_flow flow = {.transport = SIP_UDP, .remote = {"192.0.2.1", 5060}};

    return sip_msg_parse(text, &flow);
}

static void put_usual(struct buf *out, const char *without)
{
    static const struct {
        char letter;
        const char *text;
    } usual[] = {
        {'v', "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKkdjuw\r\n"},
        {'f', "From: <sip:caller@example.com>;tag=98asjd8\r\n"},
        {'t', "To: <sip:user@example.com>\r\n"},
        {'i', "Call-ID: torture@192.0.2.1\r\n"},
        {'c', "CSeq: 1 OPTIONS\r\n"},
        {'h', "Max-Forwards: 70\r\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(usual); i++)
        if (!without || !strchr(without, usual[i].letter))
            buf_puts(out, usual[i].text);
}

#define OPTIONS "OPTIONS sip:user@example.com SIP/2.0"

// clang-format off
static const struct row rows[] = {
    {"plain", FINE, OPTIONS, "", "", NULL},
    {"unknown method", FINE, "!interesting-Method0123456789_*+`.%indeed'~ sip:user@example.com SIP/2.0",
     "CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\r\n", "", "c"},
    {"all characters of a user (intmeth)", FINE,
     "OPTIONS sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0",
     "Extensions: \t\r\n", "", NULL},
    {"control characters behind backslashes", FINE, OPTIONS,
     "To: \"BEL:\\\x07 DEL:\\\x7f\" <sip:user@example.com>\r\n", "", "t"},
    {"escapes in the method are literal (esc02)", FINE, "RE%47IST%45R sip:registrar.example.com SIP/2.0",
     "CSeq: 29344 RE%47IST%45R\r\n", "", "c"},
    {"escaped nulls in a user (escnull)", FINE, "OPTIONS sip:null-%00-null@example.com SIP/2.0", "", "", NULL},
    {"no space before < (lwsdisp)", FINE, OPTIONS, "From: caller<sip:caller@example.com>;tag=323\r\n", "", "f"},
    {"semicolons in a user (semiuri)", FINE, "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0", "", "", NULL},
    {"unknown transports (transports)", FINE, OPTIONS,
     "Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKkdjuw\r\n", "", "v"},
    {"RFC 2543 (inv2543)", FINE, "OPTIONS sip:UserB@example.com SIP/2.0",
     "Via: SIP/2.0/UDP iftgw.example.com\r\nFrom: <sip:+13035551111@ift.client.example.net;user=phone>\r\n", "", "vfh"},
    {"multipart with zeros in it", FINE, OPTIONS, "Content-Type: multipart/mixed;boundary=7a9cbec02ceef655\r\n", "abc", NULL},
    {"zero Max-Forwards (zeromf)", FINE, OPTIONS, "Max-Forwards: 0\r\n", "", "h"},
    {"unusual Accept", FINE, OPTIONS, "Accept: text/nobodyKnowsThis\r\n", "", NULL},
    {"another URI scheme in To (unksm2)", FINE, OPTIONS, "To: isbn:2983792873\r\n", "", "t"},

    {"extra characters in a request line (lwsruri)", 400, "OPTIONS sip:user@example.com; lr SIP/2.0", "", "", NULL},
    {"two spaces in a request line (lwsstart)", 400, "OPTIONS  sip:user@example.com  SIP/2.0", "", "", NULL},
    {"trailing space in a request line (trws)", 400, "OPTIONS sip:user@example.com SIP/2.0  ", "", "", NULL},
    {"<> around the Request-URI (ltgtruri)", 400, "OPTIONS <sip:user@example.com> SIP/2.0", "", "", NULL},
    {"escaped headers in the Request-URI (escruri)", 400,
     "OPTIONS sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0", "", "", NULL},
    {"half an escape", 400, "OPTIONS sip:us%4@example.com SIP/2.0", "", "", NULL},
    {"two @", 400, "OPTIONS sip:us@er@example.com SIP/2.0", "", "", NULL},
    {"port 0", 400, "OPTIONS sip:user@example.com:0 SIP/2.0", "", "", NULL},
    {"unknown scheme (unkscm)", 416, "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", "", "", NULL},
    {"atypical scheme (novelsc)", 416, "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", "", "", NULL},
    {"another version (badvers)", 505, "OPTIONS sip:user@example.com SIP/7.0", "", "", NULL},
    {"no version", DROPPED, "OPTIONS sip:user@example.com", "", "", NULL},
    {"method that is no token", DROPPED, "OPT{ONS sip:user@example.com SIP/2.0", "", "", NULL},
    {"unterminated quote (quotbal)", 400, OPTIONS, "To: \"Mr. J. User <sip:user@example.com>\r\n", "", "t"},
    {"comma in an unquoted name (baddn)", 400, OPTIONS, "From: Bell, Alexander <sip:a.g.bell@example.com>;tag=43\r\n", "", "f"},
    {"space within <> (badaspec)", 400, OPTIONS, "To: \"Watson, Thomas\" < sip:t.watson@example.org >\r\n", "", "t"},
    {"no From tag is not our business here", FINE, OPTIONS, "From: <sip:caller@example.com>\r\n", "", "f"},
    {"methods differ (mismatch01)", 400, OPTIONS, "CSeq: 8 INVITE\r\n", "", "c"},
    {"CSeq too large (scalar02)", 400, OPTIONS, "CSeq: 36893488147419103232 OPTIONS\r\n", "", "c"},
    {"CSeq of 2^31", 400, OPTIONS, "CSeq: 2147483648 OPTIONS\r\n", "", "c"},
    {"Max-Forwards too large (scalar02)", 400, OPTIONS, "Max-Forwards: 300\r\n", "", "h"},
    {"Content-Length beyond the datagram (clerr)", 400, OPTIONS, "Content-Length: 9999\r\n", "abc", NULL},
    {"negative Content-Length (ncl)", 400, OPTIONS, "Content-Length: -999\r\n", "", NULL},
    {"two Content-Lengths (mcl01)", 400, OPTIONS, "Content-Length: 0\r\nContent-Length: 0\r\n", "", NULL},
    {"two CSeqs (multi01)", 400, OPTIONS, "CSeq: 59 OPTIONS\r\n", "", NULL},
    {"two Froms (multi01)", 400, OPTIONS, "f: <sip:other@example.com>;tag=3413415\r\n", "", NULL},
    {"header without a colon", 400, OPTIONS, "What is this\r\n", "", NULL},
    {"header whose name is no token", 400, OPTIONS, "What@: 1\r\n", "", NULL},
    {"bare line feed", 400, OPTIONS, "Subject: a\nb\r\n", "", NULL},
    {"bare control character", 400, OPTIONS, "Subject: a\x01\r\n", "", NULL},
    {"space in a Call-ID", 400, OPTIONS, "Call-ID: a b\r\n", "", "i"},
    {"empty Call-ID", 400, OPTIONS, "Call-ID:\r\n", "", "i"},

    {"no Via (insuf)", DROPPED, OPTIONS, "", "", "v"},
    {"no From (insuf)", DROPPED, OPTIONS, "", "", "f"},
    {"no To", DROPPED, OPTIONS, "", "", "t"},
    {"no Call-ID (insuf)", DROPPED, OPTIONS, "", "", "i"},
    {"no CSeq", DROPPED, OPTIONS, "", "", "c"},
    {"Via of another protocol", DROPPED, OPTIONS, "Via: HTTP/1.1/UDP 192.0.2.1\r\n", "", "v"},
    {"empty", DROPPED, "", "", "", "vftich"},

    {"response", FINE, "SIP/2.0 200 OK", "", "", NULL},
    {"empty reason (noreason)", FINE, "SIP/2.0 100 ", "", "", NULL},
    {"no reason", FINE, "SIP/2.0 100", "", "", NULL},
    {"UTF-8 reason (unreason)", FINE, "SIP/2.0 200 = 2**3 * 5**2 \xd0\xbd\xd0\xbe", "", "", NULL},
    {"status too large (bigcode)", DROPPED, "SIP/2.0 4294967301 better not break the receiver", "", "", NULL},
    {"status 99", DROPPED, "SIP/2.0 099 Low", "", "", NULL},
    {"malformed response (scalarlg)", DROPPED, "SIP/2.0 503 Service Unavailable", "CSeq: 9292394834772304023312 OPTIONS\r\n", "", "c"},
};
// clang-format on

static void each_row(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sip_msg *m;
        int said;

        buf_clear(&text);
        buf_printf(&text, "%s\r\n", rows[i].start_line);
        put_usual(&text, rows[i].without);
        buf_printf(&text, "%s\r\n%s", rows[i].headers, rows[i].body);
        m = parse(buf_str(&text));
        said = m ? (int)m->refusal.code : DROPPED;
        if (said != rows[i].says)
            fail_msg("%s: said %d (%s), expected %d", rows[i].name, said,
                     m && said ? m->refusal.reason : "", rows[i].says);
        sip_msg_free(m);
    }
    buf_done(&text);
}

/* ---- RFC 4475, 3.1.1.1: a short tortuous INVITE ---- */

static const char tortuous[] =
    "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n"
    "TO :\r\n"
    " sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n"
    "from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n"
    "  ;\r\n"
    "  tag = 98asjd8\r\n"
    "MaX-fOrWaRdS: 0068\r\n"
    "Call-ID: wsinv.ndaksdj@192.0.2.1\r\n"
    "Content-Length   : 3\r\n"
    "cseq: 0009\r\n"
    "  INVITE\r\n"
    "Via  : SIP  /   2.0\r\n"
    " /UDP\r\n"
    "    192.0.2.2;branch=390skdjuw\r\n"
    "s :\r\n"
    "NewFangledHeader:   newfangled value\r\n"
    " continued newfangled value\r\n"
    "UnknownHeaderWithUnusualValue: ;;,,;;,;\r\n"
    "Content-Type: application/sdp\r\n"
    "Route:\r\n"
    " <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n"
    "v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n"
    "  branch  =   z9hG4bK9ikj8  ,\r\n"
    " SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n"
    " z9hG4bK30239\r\n"
    "m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\r\n"
    "      newvalue ;\r\n"
    "  secondparam ; q = 0.33\r\n"
    "\r\n"
    "v=0 and what follows is not ours";

static void assert_str(struct str s, const char *expected)
{
    if (!str_eq_c(s, expected))
        fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(s), expected);
}

static void tortuous_but_valid(void **state)
{
    struct sip_msg *m = parse(STR(tortuous));
    struct sip_walk walk = {0};
    struct sip_addr contact = {.tag = {"", 0}};
    struct sip_via via = {.port = 0};
    struct str value = {"", 0};

    (void)state;
    assert_non_null(m);
    assert_int_equal(m->refusal.code, 0);
    assert_str(m->to.uri.user, "vivekg");
    assert_str(m->to.tag, "1918181833n");
    assert_str(m->from.tag, "98asjd8");
    assert_str(m->from.display, "J Rosenberg \\\\\\\"");
    assert_int_equal(m->max_forwards, 68);
    assert_int_equal(m->cseq.number, 9);
    assert_int_equal(m->method, SIP_INVITE);
    assert_str(m->via.transport, "UDP");
    assert_str(m->via.branch, "390skdjuw");
    assert_str(m->body, "v=0");

    sip_msg_next(m, SIP_HEADER_VIA, &walk, &value);
    assert_true(sip_msg_next(m, SIP_HEADER_VIA, &walk, &value) && sip_via_parse(value, &via));
    assert_str(via.transport, "TCP");
    assert_str(via.branch, "z9hG4bK9ikj8");
    assert_true(sip_msg_next(m, SIP_HEADER_VIA, &walk, &value) && sip_via_parse(value, &via));
    assert_str(via.host, "192.168.255.111");
    assert_str(via.branch, "z9hG4bK30239");
    assert_false(sip_msg_next(m, SIP_HEADER_VIA, &walk, &value));

    assert_true(sip_addr_parse(sip_msg_value(m, SIP_HEADER_CONTACT), &contact));
    assert_true(sip_param(contact.params, "q", &value));
    assert_str(value, "0.33");
    assert_true(sip_param(contact.params, "newparam", &value));
    assert_str(value, "newvalue");
    sip_msg_free(m);
}

/* ---- limits ---- */

static int refusal_of(const char *start, const char *header, size_t times)
{
    struct buf text;
    struct sip_msg *m;
    int said;

    buf_init(&text, 1 << 20);
    buf_puts(&text, start);
    put_usual(&text, NULL);
    for (size_t i = 0; i < times; i++)
        buf_puts(&text, header);
    buf_puts(&text, "\r\n");
    m = parse(buf_str(&text));
    said = m ? (int)m->refusal.code : DROPPED;
    sip_msg_free(m);
    buf_done(&text);
    return said;
}

static void limits_have_names(void **state)
{
    struct buf line;

    (void)state;
    assert_int_equal(refusal_of(OPTIONS "\r\n", "X: 1\r\n", SIP_HEADERS_MAX - 6), FINE);
    assert_int_equal(refusal_of(OPTIONS "\r\n", "X: 1\r\n", SIP_HEADERS_MAX - 5), 513);
    assert_int_equal(refusal_of(OPTIONS "\r\n", "Via: SIP/2.0/UDP a,SIP/2.0/UDP b\r\n", 34), FINE);
    assert_int_equal(refusal_of(OPTIONS "\r\n", "Via: SIP/2.0/UDP a,SIP/2.0/UDP b\r\n", 35), 513);
    assert_int_equal(refusal_of(OPTIONS "\r\n", "Route: <sip:a;lr>\r\n", 21), 513);
    assert_int_equal(refusal_of(OPTIONS "\r\n", "X: 0123456789abcdef0123456789\r\n", 10000),
                     DROPPED);

    buf_init(&line, 1 << 16);
    buf_puts(&line, "X: ");
    for (int i = 0; i < SIP_LINE_MAX; i++)
        buf_put_c(&line, 'x');
    buf_puts(&line, "\r\n");
    assert_int_equal(refusal_of(OPTIONS "\r\n", line.data, 1), 513);

    buf_clear(&line);
    buf_puts(&line, "OPTIONS sip:");
    for (int i = 0; i < SIP_URI_MAX; i++)
        buf_put_c(&line, 'x');
    buf_puts(&line, " SIP/2.0\r\n");
    assert_int_equal(refusal_of(line.data, "", 1), 414);
    buf_done(&line);
}

/* ---- URIs ---- */

static bool equal(const char *a, const char *b)
{
    struct sip_uri x, y;

    assert_int_equal(sip_uri_parse(str_of(a), &x), 0);
    assert_int_equal(sip_uri_parse(str_of(b), &y), 0);
    assert_int_equal(sip_uri_equal(&x, &y), sip_uri_equal(&y, &x));
    return sip_uri_equal(&x, &y);
}

/* The examples of RFC 3261, 19.1.4. */
static void uris_compare_as_the_rfc_says(void **state)
{
    (void)state;
    assert_true(
        equal("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"));
    assert_true(equal("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"));
    assert_true(equal("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"));
    assert_true(equal("sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                      "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"));
    assert_true(equal("sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                      "sip:alice@atlanta.com?priority=urgent&subject=project%20x"));

    assert_false(
        equal("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"));
    assert_false(equal("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
    assert_false(equal("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"));
    assert_false(equal("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"));
    assert_false(equal("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"));
    assert_false(equal("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"));
    assert_false(equal("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"));
}

static void aor_of(const char *uri, const char *expected)
{
    struct arena a;
    struct sip_uri parsed;
    struct str aor = {"", 0};

    arena_init(&a, 1 << 16);
    assert_int_equal(sip_uri_parse(str_of(uri), &parsed), 0);
    assert_int_equal(sip_uri_aor(&a, &parsed, &aor), expected != NULL);
    if (expected)
        assert_str(aor, expected);
    arena_done(&a);
}

static void aors_are_prepared(void **state)
{
    struct buf out;

    (void)state;
    aor_of("sip:Alice@Muster.Test:5060;transport=tcp", "alice@muster.test");
    aor_of("sips:%41lice@muster.test", "alice@muster.test");
    aor_of("sip:muster.test", NULL);
    aor_of("sip:a%00@muster.test", NULL);
    aor_of("sip:a%40b@muster.test", NULL);
    aor_of("sip:a%2fb@muster.test", NULL);
    aor_of("sip:al%20ice@muster.test", NULL);

    buf_init(&out, 100);
    sip_uri_put_aor(&out, STR("a#\xc3\xa9.b@muster.test"));
    assert_str(buf_str(&out), "sip:a%23%C3%A9.b@muster.test");
    buf_done(&out);
}

/* ---- printing ---- */

static void responses_tell_where_the_request_came_from(void **state)
{
    struct sip_msg *m =
        parse(STR("OPTIONS sip:user@example.com SIP/2.0\r\n"
                  "v: SIP/2.0/UDP 10.1.1.1:4540;rport;branch=z9hG4bKkj;x=\"a;b\"\r\n"
                  "v: SIP/2.0/UDP 10.1.1.2\r\n"
                  "f: <sip:a@example.com>;tag=1\r\nt: <sip:user@example.com>\r\n"
                  "i: 1\r\nCSeq: 1 OPTIONS\r\n\r\n"));
    struct buf out;

    (void)state;
    buf_init(&out, 1 << 16);
    sip_put_response(&out, m, 404, NULL, STR("xyz"));
    sip_put_body(&out, STR(""), STR(""));
    assert_string_equal(
        out.data, "SIP/2.0 404 Not Found\r\n"
                  "Via: SIP/2.0/UDP 10.1.1.1:4540;branch=z9hG4bKkj;x=\"a;b\";received=192.0.2.1"
                  ";rport=5060\r\n"
                  "Via: SIP/2.0/UDP 10.1.1.2\r\n"
                  "From: <sip:a@example.com>;tag=1\r\n"
                  "To: <sip:user@example.com>;tag=xyz\r\n"
                  "Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n");
    buf_clear(&out);
    sip_put_date(&out, 1289690940000);
    assert_string_equal(out.data, "Sat, 13 Nov 2010 23:29:00 GMT");
    buf_clear(&out);
    sip_put_date(&out, 951782399000);
    assert_string_equal(out.data, "Mon, 28 Feb 2000 23:59:59 GMT");
    buf_clear(&out);
    sip_put_date(&out, 951782400000);
    assert_string_equal(out.data, "Tue, 29 Feb 2000 00:00:00 GMT");
    buf_done(&out);
    sip_msg_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row),
        cmocka_unit_test(tortuous_but_valid),
        cmocka_unit_test(limits_have_names),
        cmocka_unit_test(uris_compare_as_the_rfc_says),
        cmocka_unit_test(aors_are_prepared),
        cmocka_unit_test(responses_tell_where_the_request_came_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
