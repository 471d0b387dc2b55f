"""DRAM that computes: HBM-PIM and GDDR6-AiM."""
