/**
 * The key and certificate of the lab's API server, which lives in a namespace of its own and is reached by nobody else.
 * They protect nothing: they are there because a real API server speaks TLS.
 */
export const LAB_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgZim0k4sZ9olJ+8h9
L5zCu91nEdpqBY/Kp4nUIf1uwMGhRANCAAScun8kXuBturCKleGtt/tFbO0sKKIA
k00x+7uZ3OayWdP0mkgIagKGqHvvvAjKGRupd9K/t6V4mj9yfXZFiTza
-----END PRIVATE KEY-----
`;
export const LAB_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBhDCCASmgAwIBAgIUUu0o7aC48vNV6BBwT1k0dVYYmYEwCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLbGFiLmludmFsaWQwIBcNMjYxMTIxMDcxMTU2WhgPMjEyNjEw
MjgwNzExNTZaMBYxFDASBgNVBAMMC2xhYi5pbnZhbGlkMFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAEnLp/JF7gbbqwipXhrbf7RWztLCiiAJNNMfu7mdzmslnT9JpI
CGoChqh777wIyhkbqXfSv7eleJo/cn12RYk82qNTMFEwHQYDVR0OBBYEFNyvYA2n
DQusxPkIVDmgPgq8V5xdMB8GA1UdIwQYMBaAFNyvYA2nDQusxPkIVDmgPgq8V5xd
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAIoZICcPs+ZcXSD9
3v0ntY5MyyoixpojLhoiZ0KtlYtOAiEAsqFOCNE/tPvXUDvFs/R8pxyBRnYB4lmm
OfFqQ78bA+U=
-----END CERTIFICATE-----
`;
