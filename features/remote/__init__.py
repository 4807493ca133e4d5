"""What lies outside: calls to other people's servers, with credentials that are never shown, at a pace that they allow."""
