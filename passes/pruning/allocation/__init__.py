"""How many units of each group stay: costs as functions of widths, and the widths with the least error in a budget."""
