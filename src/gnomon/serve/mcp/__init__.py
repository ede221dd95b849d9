"""The MCP server: Gnomon as tools and resources for other programs' models."""
