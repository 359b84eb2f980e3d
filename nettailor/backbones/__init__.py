"""Where pretrained networks come from: names, weights, the embedded one."""
