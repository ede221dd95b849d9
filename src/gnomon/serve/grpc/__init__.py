"""The xai_api gRPC services, as the official `xai-sdk` speaks them."""
