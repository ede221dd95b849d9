"""Tools that the server runs itself while it answers: code in closed rooms, remote MCP servers."""
