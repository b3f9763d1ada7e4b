/** The headers that OWASP's REST Security Cheat Sheet asks of a JSON API, as names and values, flat. */
export function securityHeaders(tls: boolean): string[] {
  const headers = [
    'Cache-Control',
    'no-store',
    'X-Content-Type-Options',
    'nosniff',
    'Content-Security-Policy',
    "frame-ancestors 'none'",
    'X-Frame-Options',
    'DENY',
  ];
  if (tls) headers.push('Strict-Transport-Security', 'max-age=31536000');
  return headers;
}
