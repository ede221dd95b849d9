"""Searching the web elsewhere: one small protocol over several services, without their SDKs."""
