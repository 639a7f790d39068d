"""What language models of other programs may do here, by the Model Context Protocol (MCP): list, search, read, grep.

`catalogue` holds the tools; `server` offers them by the protocol, over any transport: `web.tools` has HTTP, and
`kb.cli.mcp` standard input and output. Tools only read, and act for a principal as the HTTP API does.
"""

from kb.tools.catalogue import TOOLS
from kb.tools.tool import Tool

__all__ = ["TOOLS", "Tool"]
