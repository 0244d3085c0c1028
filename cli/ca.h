/* A private authority for the sites of a mesh, as files of one folder:
 *
 *	ca.pem    its certificate            ca.key    its key, 0600
 *	SITE.pem  a site's certificate       SITE.key  its key, 0600
 *	issued    a line per certificate ever issued: serial number, end, site
 *	crl.pem   what was revoked (made by the first revocation)
 *
 * Keys are EC P-256.  A site's certificate names it by the URI scopemesh:SITE in its subject alternative names, the
 * name percent-encoded where a URI has to be, and is for both sides of a connection. */
#ifndef CLI_CA_H
#define CLI_CA_H

#include <stdbool.h>

#include "base/err.h"
#include "base/span.h"

#define CA_DAYS 3650      /* of the authority itself */
#define CA_SITE_DAYS 825
#define CA_TIME_BYTES 32

struct ca_issued {
	bool replaced;              /* there was one before, which stays valid until it ends or is revoked */
	bool shortened;             /* it would have outlived the authority */
	char until[CA_TIME_BYTES];
};

/* Makes the folder when it is missing.  ERR_EXISTS: there is an authority in it, which is never overwritten. */
int ca_init(const char *dir, struct err *e) MUST_CHECK;
/* A key and a certificate for a site; both files are replaced when they are there.  ERR_INVALID: no name for a site
 * or its files; ERR_IO, ERR_NOMEM. */
int ca_issue(const char *dir, const char *site, int days, struct ca_issued *issued_r, struct err *e) MUST_CHECK;
/* Puts every certificate issued to the site so far on the list.  ERR_NOT_FOUND: none was. */
int ca_revoke(const char *dir, const char *site, unsigned *count_r, struct err *e) MUST_CHECK;

#endif
