package receiver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// authority signs certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	last int64
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, last: 1}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return a
}

// issue signs a certificate for 127.0.0.1 and, as that of a client, for the name.
func (a *authority) issue(name string) (cert, key []byte) {
	a.t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	a.last++
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(a.last), DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, a.cert, &own.PublicKey, a.key)
	require.NoError(a.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(own)
	require.NoError(a.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

func (a *authority) pair(name string) tls.Certificate {
	a.t.Helper()
	pair, err := tls.X509KeyPair(a.issue(name))
	require.NoError(a.t, err)
	return pair
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// trust is the configuration of a client that trusts the authority and shows the certificates.
func (a *authority) trust(certs ...tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, Certificates: certs, MinVersion: tls.VersionTLS12}
}

// secured is a server whose web configuration can be changed.
type secured struct {
	*server
	dir  string
	logs testtools.Log
}

const withTLS = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"

func secure(t testing.TB, a *authority, config string) *secured {
	t.Helper()
	s := &secured{dir: t.TempDir()}
	s.server = &server{t: t}
	s.write("ca.crt", a.pem())
	s.renew(a)
	s.write("web.yml", []byte(config))
	s.server = serve(t, decode, func(o *Options) {
		o.WebConfigFile, o.Logger = filepath.Join(s.dir, "web.yml"), slog.New(slog.NewTextHandler(&s.logs, nil))
	})
	return s
}

// write replaces a file as tools do that renew certificates.
func (s *secured) write(name string, text []byte) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.WriteFile(path+".new", text, 0o600))
	require.NoError(s.t, os.Rename(path+".new", path))
}

func (s *secured) renew(a *authority) {
	s.t.Helper()
	cert, key := a.issue("server")
	s.write("server.crt", cert)
	s.write("server.key", key)
}

// exchange is a request over HTTP on a connection of its own; c is nil for one in plain text.
func (s *secured) exchange(c *tls.Config, http2 bool, headers ...string) (answered, error) {
	s.t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: c, ForceAttemptHTTP2: http2}
	defer transport.CloseIdleConnections()
	scheme := "https://"
	if c == nil {
		scheme = "http://"
	} else if !http2 {
		transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}
	q, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, scheme+s.http+"/v1/traces", bytes.NewReader(must(s.t)(oneSpan().MarshalProto())))
	require.NoError(s.t, err)
	q.Header.Set("Content-Type", typeProto)
	for i := 0; i+1 < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	response, err := (&http.Client{Transport: transport}).Do(q)
	if err != nil {
		return answered{}, err
	}
	require.NoError(s.t, response.Body.Close())
	return answered{response.StatusCode, response.Header, response.Proto}, nil
}

// call is the same over gRPC.
func (s *secured) call(c *tls.Config, headers ...string) error {
	s.t.Helper()
	as := insecure.NewCredentials()
	if c != nil {
		as = credentials.NewTLS(c)
	}
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(as))
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, conn.Close()) }()
	_, err = ptraceotlp.NewGRPCClient(conn).Export(metadata.AppendToOutgoingContext(s.t.Context(), headers...), oneSpan())
	return err
}

// requireTaken and requireNoConnection are about both protocols, and both versions of HTTP.
func (s *secured) requireTaken(c *tls.Config) {
	s.t.Helper()
	for _, http2 := range []bool{false, true} {
		response, err := s.exchange(c.Clone(), http2)
		require.NoError(s.t, err)
		require.Equal(s.t, http.StatusOK, response.StatusCode)
	}
	require.NoError(s.t, s.call(c))
}

func (s *secured) requireNoConnection(c *tls.Config, because string) {
	s.t.Helper()
	for _, address := range []string{s.http, s.grpc} {
		require.ErrorContains(s.t, s.handshake(address, c.Clone()), because)
	}
	for _, http2 := range []bool{false, true} {
		_, err := s.exchange(c.Clone(), http2)
		require.Error(s.t, err)
	}
	err := s.call(c)
	require.Equal(s.t, codes.Unavailable, status.Code(err), "%v", err)
}

// handshake returns why there can be no connection. In TLS 1.3 a client is through before the server has looked at its
// certificate; one that then sent a request might see that fail before it sees why.
func (s *secured) handshake(address string, c *tls.Config) error {
	s.t.Helper()
	c.NextProtos = []string{"h2"}
	conn, err := (&tls.Dialer{Config: c}).DialContext(s.t.Context(), "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // The server has closed it already.
	_, err = conn.Read(make([]byte, 1))
	return err
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	s := secure(t, a, withTLS)
	s.requireTaken(a.trust())
	for http2, proto := range map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"} {
		response, err := s.exchange(a.trust(), http2)
		require.NoError(t, err)
		require.Equal(t, proto, response.Proto)
	}
	s.requireNoConnection(newAuthority(t).trust(), "certificate signed by unknown authority")

	// A client in plain text is told so, where its protocol has words for it, and nothing of it is taken.
	response, err := s.exchange(nil, false)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.Equal(t, codes.Unavailable, status.Code(s.call(nil)))
	s.requireCounted("grpc", "ok", Traces)
}

func TestTheExporterOfOpenTelemetryOverTLS(t *testing.T) {
	a := newAuthority(t)
	s := secure(t, a, withTLS+users(t))
	export := func(c *tls.Config, authorization string) error {
		exporter, err := otlptracegrpc.New(t.Context(),
			otlptracegrpc.WithEndpoint(s.grpc), otlptracegrpc.WithTLSCredentials(credentials.NewTLS(c)),
			otlptracegrpc.WithHeaders(map[string]string{"Authorization": authorization}),
			otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{}), otlptracegrpc.WithTimeout(20*time.Second))
		require.NoError(t, err)
		defer func() { require.NoError(t, exporter.Shutdown(context.WithoutCancel(t.Context()))) }()
		spans := tracetest.SpanStubs{{Name: "predict"}}.Snapshots()
		return exporter.ExportSpans(t.Context(), append([]sdktrace.ReadOnlySpan(nil), spans...))
	}
	require.NoError(t, export(a.trust(), basic("scorer:right")))
	require.ErrorContains(t, export(a.trust(), basic("scorer:wrong")), "unknown user or wrong password")
	require.ErrorContains(t, export(newAuthority(t).trust(), basic("scorer:right")), "unknown authority")
	s.requireCounted("grpc", "ok", Traces)
	s.requireCounted("grpc", "unauthenticated", Traces)
}

func basic(credentials string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))
}

// users is a web configuration with the user scorer, whose password is right.
func users(t testing.TB) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	require.NoError(t, err)
	return "basic_auth_users: {scorer: '" + string(hash) + "'}\n"
}

func TestTLSAndUsers(t *testing.T) {
	a := newAuthority(t)
	s := secure(t, a, withTLS+users(t))
	for credentials, want := range map[string]struct {
		status int
		code   codes.Code
	}{"scorer:right": {http.StatusOK, codes.OK}, "scorer:wrong": {http.StatusUnauthorized, codes.Unauthenticated}} {
		for _, http2 := range []bool{false, true} {
			response, err := s.exchange(a.trust(), http2, "Authorization", basic(credentials))
			require.NoError(t, err)
			require.Equal(t, want.status, response.StatusCode)
		}
		require.Equal(t, want.code, status.Code(s.call(a.trust(), "authorization", basic(credentials))))
	}
}

func TestClientCertificates(t *testing.T) {
	a := newAuthority(t)
	const config = "tls_server_config: {cert_file: server.crt, key_file: server.key, client_ca_file: ca.crt, client_auth_type: RequireAndVerifyClientCert"
	const required, unknown, bad = "certificate required", "unknown certificate authority", "bad certificate"
	stranger := newAuthority(t).pair("scorer")
	for name, tc := range map[string]struct {
		config  string
		certs   []tls.Certificate
		because string // empty where the client is let in
	}{
		"of the authority":           {config + "}\n", []tls.Certificate{a.pair("scorer")}, ""},
		"none":                       {config + "}\n", nil, required},
		"of another authority":       {config + "}\n", []tls.Certificate{stranger}, unknown},
		"with an allowed name":       {config + ", client_allowed_sans: [scorer]}\n", []tls.Certificate{a.pair("scorer")}, ""},
		"with another name":          {config + ", client_allowed_sans: [scorer]}\n", []tls.Certificate{a.pair("stranger")}, bad},
		"asked for but not verified": {"tls_server_config: {cert_file: server.crt, key_file: server.key, client_auth_type: RequireAnyClientCert}\n", []tls.Certificate{stranger}, ""},
		"required but missing":       {"tls_server_config: {cert_file: server.crt, key_file: server.key, client_auth_type: RequireAnyClientCert}\n", nil, required},
	} {
		t.Run(name, func(t *testing.T) {
			s := secure(t, a, tc.config)
			c := a.trust()
			// The client sends its certificate even if the server names other authorities.
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(tc.certs) == 0 {
					return new(tls.Certificate), nil
				}
				return &tc.certs[0], nil
			}
			if tc.because == "" {
				s.requireTaken(c)
				return
			}
			s.requireNoConnection(c, tc.because)
		})
	}
}

func TestRenewedCertificatesAreTakenWithoutARestart(t *testing.T) {
	old, next := newAuthority(t), newAuthority(t)
	s := secure(t, old, withTLS)
	s.requireTaken(old.trust())
	s.renew(next)
	s.requireTaken(next.trust())
	s.requireNoConnection(old.trust(), "certificate signed by unknown authority")

	// Without a certificate there is no connection, and the error is logged once.
	const message = "There can be no TLS, and no OTLP is taken until there can"
	require.NoError(t, os.Remove(filepath.Join(s.dir, "server.key")))
	s.requireNoConnection(next.trust(), "internal error")
	require.Equal(t, 1, strings.Count(s.logs.String(), message))
	s.renew(next)
	s.requireTaken(next.trust())
	require.Equal(t, 1, strings.Count(s.logs.String(), message))
}

func TestTheLeastVersionOfTLS(t *testing.T) {
	a := newAuthority(t)
	s := secure(t, a, "tls_server_config: {cert_file: server.crt, key_file: server.key, min_version: TLS13}\n")
	s.requireTaken(a.trust())
	c := a.trust()
	c.MaxVersion = tls.VersionTLS12
	s.requireNoConnection(c, "protocol version not supported")
	// It may be changed while the server runs.
	s.write("web.yml", []byte(withTLS))
	s.requireTaken(c)
}

func TestGRPCWorksWhenHTTP2IsDisabled(t *testing.T) {
	a := newAuthority(t)
	s := secure(t, a, withTLS+"http_server_config: {http2: false}\n")
	response, err := s.exchange(a.trust(), true)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1", response.Proto)
	require.NoError(t, s.call(a.trust()))
}

func TestHeadersOfTheWebConfiguration(t *testing.T) {
	a := newAuthority(t)
	const header = "Strict-Transport-Security"
	s := secure(t, a, withTLS+"http_server_config: {headers: {"+header+": max-age=60}}\n")
	response, err := s.exchange(a.trust(), true)
	require.NoError(t, err)
	require.Equal(t, "max-age=60", response.Header.Get(header))
	require.Equal(t, typeProto, response.Header.Get("Content-Type"))
	s.write("web.yml", []byte(withTLS+"http_server_config: {headers: {"+header+": max-age=61}}\n"))
	response, err = s.exchange(a.trust(), true, "Content-Type", "text/plain")
	require.NoError(t, err)
	require.Equal(t, "max-age=61", response.Header.Get(header), "of a refusal too")
}

func TestTheRateLimitOfTheWebConfiguration(t *testing.T) {
	s := secure(t, newAuthority(t), "rate_limit: {interval: 1h, burst: 2}\n")
	response, err := s.exchange(nil, false)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.NoError(t, s.call(nil))
	response, err = s.exchange(nil, false)
	require.NoError(t, err)
	require.Equal(t, http.StatusTooManyRequests, response.StatusCode)
	require.Equal(t, "1", response.Header.Get("Retry-After"))
	err = s.call(nil)
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.Equal(t, time.Second, retryDelay(err), "without it clients do not come again")
}

func TestBrokenWebConfigurationOfARunningServer(t *testing.T) {
	const message = "The web configuration cannot be read, and no OTLP is taken until it can"
	a := newAuthority(t)
	good := users(t)
	for name, broken := range map[string]string{
		"no YAML":                   "{",
		"an unknown key":            good + "basic_auth_user: {}\n",
		"a password in clear text":  "basic_auth_users: {scorer: right}\n",
		"a header that may not be":  good + "http_server_config: {headers: {Content-Type: x}}\n",
		"a certificate without key": good + "tls_server_config: {cert_file: server.crt}\n",
		"nothing at all":            "",
	} {
		t.Run(name, func(t *testing.T) {
			s := secure(t, a, good)
			right := []string{"Authorization", basic("scorer:right")}
			taken := func() {
				t.Helper()
				response, err := s.exchange(nil, false, right...)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, response.StatusCode)
				require.NoError(t, s.call(nil, right...))
			}
			taken()
			if broken == "" {
				require.NoError(t, os.Remove(filepath.Join(s.dir, "web.yml")))
			} else {
				s.write("web.yml", []byte(broken))
			}
			for range 2 {
				// To be told of a wrong password would make clients throw their spans away.
				response, err := s.exchange(nil, false, right...)
				require.NoError(t, err)
				require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
				require.Equal(t, "5", response.Header.Get("Retry-After"))
				err = s.call(nil, right...)
				require.Equal(t, codes.Unavailable, status.Code(err))
				require.Equal(t, 5*time.Second, retryDelay(err))
			}
			require.Equal(t, 1, strings.Count(s.logs.String(), message))
			s.write("web.yml", []byte(good))
			taken()
		})
	}
}

func TestTLSIsSwitchedOnlyByARestart(t *testing.T) {
	const message = "TLS was turned on or off in the web configuration, which needs a restart"
	a := newAuthority(t)
	t.Run("on", func(t *testing.T) {
		s := secure(t, a, "")
		s.write("web.yml", []byte(withTLS))
		for range 2 {
			response, err := s.exchange(nil, false)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, response.StatusCode)
			require.NoError(t, s.call(nil))
		}
		require.Equal(t, 1, strings.Count(s.logs.String(), message))
	})
	t.Run("off", func(t *testing.T) {
		s := secure(t, a, withTLS)
		s.write("web.yml", []byte("http_server_config: {http2: true}\n"))
		// It is never plain text that clients with TLS would get, nor is plain text taken.
		s.requireNoConnection(a.trust(), "internal error")
		require.Equal(t, codes.Unavailable, status.Code(s.call(nil)))
		require.Equal(t, 1, strings.Count(s.logs.String(), message))
		s.write("web.yml", []byte(withTLS))
		s.requireTaken(a.trust())
	})
}

func TestPasswordGuessesDoNotDelayKnownUsers(t *testing.T) {
	s := secure(t, newAuthority(t), users(t))
	s.Patience.Queue = 10 * time.Millisecond
	known := []string{"authorization", "basic " + strings.TrimPrefix(basic("scorer:right"), "Basic ")} // in lower case
	require.NoError(t, s.call(nil, known...))
	s.guard.checking <- struct{}{} // as if a guess were being compared
	defer func() { <-s.guard.checking }()
	require.NoError(t, s.call(nil, known...))
	err := s.call(nil, "authorization", basic("scorer:guess"))
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
	response, err := s.exchange(nil, false, "Authorization", basic("scorer:guess"))
	require.NoError(t, err)
	require.Equal(t, http.StatusTooManyRequests, response.StatusCode)
	require.Empty(t, s.slots, "nor does a guess take a turn")
}

func TestRevokedClientCannotResumeATLSSession(t *testing.T) {
	const config = "tls_server_config: {cert_file: server.crt, key_file: server.key, client_ca_file: ca.crt, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: ["
	a := newAuthority(t)
	s := secure(t, a, config+"scorer]}\n")
	c := a.trust(a.pair("scorer"))
	c.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	for range 2 {
		_, err := s.exchange(c, true)
		require.NoError(t, err)
	}
	s.write("web.yml", []byte(config+"another]}\n"))
	_, err := s.exchange(c, true)
	require.Error(t, err)
	require.Error(t, s.call(c))
}
