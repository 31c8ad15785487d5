package action

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	promconfig "github.com/prometheus/common/config"
)

// Reach connects to the target of an action, with TLS if it uses it, and sends no request, since any request might start
// something. Behind a proxy it connects to the proxy.
func Reach(ctx context.Context, cfg TargetConfig) (found string, err error) {
	t, err := cfg.target("check")
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, t.start.url, http.NoBody)
	if err != nil {
		return "", err
	}
	var proxy *url.URL
	if find := cfg.client.Proxy(); find != nil {
		if proxy, err = find(request); err != nil {
			return "", fmt.Errorf("proxy: %w", err)
		}
	}
	if proxy != nil {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", hostPort(proxy))
		if err != nil {
			return "", fmt.Errorf("proxy: %w", err)
		}
		return "the proxy " + hostPort(proxy) + " answers; what is behind it was not asked", conn.Close()
	}
	address := hostPort(request.URL)
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	if request.URL.Scheme != "https" {
		return address + " takes connections; nothing was sent", conn.Close()
	}
	settings, err := promconfig.NewTLSConfig(&cfg.client.TLSConfig)
	if err != nil {
		return "", errors.Join(fmt.Errorf("http_client.tls_config: %w", err), conn.Close())
	}
	settings.ServerName = cmp.Or(settings.ServerName, request.URL.Hostname())
	err = tls.Client(conn, settings).HandshakeContext(ctx)
	return address + " takes connections with TLS; nothing was sent", errors.Join(err, conn.Close())
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "socks5": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(port, "80"))
}
