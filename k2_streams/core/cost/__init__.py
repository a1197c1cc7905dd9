"""What a deployment costs per month, from measured figures and a list of prices.

The model is arithmetic without a clock, a file or the network, and it checks its own result:
`model.contradictions` finds a report whose rows, total and unit cost do not agree.
"""
