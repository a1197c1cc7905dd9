"""`make runbooks`: alerts are caused, fire, and are resolved by what their runbooks say."""
